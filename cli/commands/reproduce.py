"""``physode reproduce``: figures of the papers, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from physode.cli.options import PATH, force_option, json_option, seed_option
from physode.cli.show import show_json, show_pairs, show_table
from physode.experiments import EXPERIMENTS

__all__ = ["command"]


@click.command()
@click.argument("figures", nargs=-1, required=True, type=click.Choice([*EXPERIMENTS, "all"]), metavar="FIGURE...")
@click.option("--out", type=PATH, default=Path("reproduce"), show_default=True, help="Folder to write into.")
@seed_option
@force_option
@json_option
def command(figures: tuple[str, ...], out: Path, seed: int, force: bool, as_json: bool) -> None:
    """Reproduce figures of the papers: fig4, fig5, fig6, or all.

    Prints the paper's statements beside what is found here, and writes each figure (PNG), its table (Markdown) and its
    data (JSON).

    \b
    Examples:
      physode reproduce fig6
      physode reproduce all --out figures --force
      physode reproduce fig5 --seed 3 --json
    """
    from physode.experiments.report import as_dict, check_free, write

    names = list(EXPERIMENTS) if "all" in figures else list(dict.fromkeys(figures))
    if not force:
        for name in names:
            check_free(name, out)
    out.mkdir(parents=True, exist_ok=True)
    shown = []
    for name in names:
        result, figure = _run(name, seed)
        files = {kind: str(path) for kind, path in write(result, figure, out, overwrite=force).items()}
        shown.append(as_dict(result) | {"files": files})
        if not as_json:
            _show(shown[-1])
    if as_json:
        show_json(shown)


def _run(name: str, seed: int) -> tuple[Any, Any]:
    """Run one experiment under a progress bar on stderr; return its result and its figure."""
    from rich.console import Console
    from rich.progress import Progress

    from physode.experiments import find_experiment

    experiment = find_experiment(name)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=1.0)
        result = experiment.run(
            experiment.Config(seed=seed), progress=lambda fraction: bar.update(task, completed=fraction)
        )
        return result, experiment.draw(result)


def _show(result: dict[str, Any]) -> None:
    rows, findings = result["rows"], result["findings"]
    show_table(result["title"], list(rows[0]), [list(row.values()) for row in rows])
    show_table("the paper and here", ["the paper", "here", "agrees"], [list(each.values()) for each in findings])
    show_pairs("written", result["files"])
