"""``physode reproduce``: figures and tables of the papers, made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.options import PATH, force_option, json_option, seed_option
from physode.cli.show import show_json, show_pairs, show_table
from physode.experiments import EXPERIMENTS

if TYPE_CHECKING:
    from physode.experiments.report import Result

__all__ = ["command"]


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice([*EXPERIMENTS, "all"]), metavar="NAME...")
@click.option("--quick", is_flag=True, help="Shorter versions of what takes long, named NAME-quick: minutes each.")
@click.option("--jobs", type=click.IntRange(1), help="Cells of a study computed at a time.  [default: 1]")
@click.option("--scheduler", metavar="ADDRESS", help="Send a study's cells to this Dask scheduler instead.")
@click.option("--out", type=PATH, default=Path("reproduce"), show_default=True, help="Folder to write into.")
@seed_option
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    quick: bool,
    jobs: int | None,
    scheduler: str | None,
    out: Path,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Reproduce figures and tables of the papers: fig4, fig5, fig6, table5, recovery, or all.

    Prints the paper's statements beside what is found here, and writes figures (PNG), a table (Markdown) and data
    (JSON).

    table5 is a study of independent cells: with all its epochs and seeds it takes hours. Each cell is kept when it is
    done, in OUT/table5/cells, and the same command goes on where it was interrupted; cells that failed are tried again.
    --force starts anew. With --scheduler, cells go to a Dask cluster whose workers have physode installed.

    \b
    Examples:
      physode reproduce fig6
      physode reproduce fig4 fig5 fig6 --out figures --force
      physode reproduce fig5 --seed 3 --json
      physode reproduce table5 --quick --jobs 2
      physode reproduce table5 --scheduler tcp://127.0.0.1:8786
    """
    if jobs is not None and scheduler is not None:
        raise click.UsageError("--jobs and --scheduler do not go together: a cluster has its own workers", ctx)
    from physode.experiments.study import check, configuration, has_cells

    chosen = list(EXPERIMENTS) if "all" in names else list(dict.fromkeys(names))
    if (jobs is not None or scheduler is not None) and not any(map(has_cells, chosen)):
        option = "--jobs" if scheduler is None else "--scheduler"
        raise click.UsageError(f"{option} needs a study of cells; there is none in {', '.join(chosen)}", ctx)
    configs = {name: configuration(name, seed=seed, quick=quick) for name in chosen}
    if not force:
        for name, config in configs.items():
            check(name, config, out)
    out.mkdir(parents=True, exist_ok=True)
    shown = [
        _reproduce(name, config, as_json=as_json, folder=out, jobs=jobs or 1, scheduler=scheduler, force=force)
        for name, config in configs.items()
    ]
    if as_json:
        show_json(shown)


def _reproduce(name: str, config: Any, *, as_json: bool, **options: Any) -> dict[str, Any]:
    """Run one experiment under a progress bar on stderr; show its result, or return it to be shown with the others."""
    from rich.console import Console
    from rich.progress import Progress

    from physode.experiments.report import as_dict
    from physode.experiments.study import carry_out

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=1.0)

        def progress(fraction: float, text: str) -> None:
            bar.update(task, completed=fraction, description=f"{name} {text}".rstrip())

        result, files = carry_out(name, config, progress=progress, **options)
    written = {kind: str(path) for kind, path in files.items()}
    if not as_json:
        _show(result, written)
    return as_dict(result) | {"files": written}


def _show(result: Result, files: dict[str, str]) -> None:
    rows = list(result.rows)
    show_table(result.title, list(rows[0]), [list(row.values()) for row in rows])
    findings = [[each.paper, each.ours, each.agrees] for each in result.findings]
    show_table(f"{result.claims} and here", [result.claims, "here", "agrees"], findings)
    show_pairs("written", files)
