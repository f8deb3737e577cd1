"""``physode reproduce``: figures and tables of the papers, made again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.data import usual_images
from physode.cli.numbers import THREADS
from physode.cli.options import device_option, force_option, json_option, seed_option
from physode.cli.paths import PATH, check_source
from physode.cli.show import show_json, show_pairs, show_table
from physode.experiments import EXPERIMENTS, ON_IMAGES, find_experiment
from physode.optional_imports import check_installed
from physode.progress import progress_bar

if TYPE_CHECKING:
    from physode.experiments.report import Result
    from physode.experiments.study import Done

__all__ = ["command"]

_SOME_FAILED = 3  # the exit code


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice([*EXPERIMENTS, "all"]), metavar="NAME...")
@click.option("--quick", is_flag=True, help="Shorter versions of what takes long, named NAME-quick: minutes each.")
@click.option("--jobs", type=THREADS, help="Cells of a study computed at a time.  [default: 1]")
@click.option("--scheduler", metavar="ADDRESS", help="Send a study's cells to this Dask scheduler instead.")
@click.option("--data", type=PATH, help="Images for what is on images.  [default: see above]")
@device_option
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
    data: Path | None,
    device: str,
    out: Path,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Reproduce figures and tables of the papers, or all of them.

    \b
    ACA paper (Zhuang et al. 2020):
      table1, theorem32                      costs of gradient methods, counted; errors of reverse solves
      fig4, fig5, fig6, table5               integrals, gradients, three bodies
      table4                                 irregular series of a hopper (extra mujoco)
      table2, table3, table6, table7, fig7   NODE18 and ResNet18 on CIFAR
    Galaxies by neural ODEs (Gupta et al. 2022):
      galaxy-table1 to 4, galaxy-fig1 to 5, galaxy-passes, galaxy-params
    Of physode itself:
      recovery                               masses recovered from random systems

    Prints the paper's statements beside what is found here, and writes figures (PNG), a table (Markdown) and data
    (JSON).

    table4, table5, recovery and what is on images are studies of independent cells: with all their epochs and seeds
    they take hours, trainings many, and a GPU (--device cuda). Each cell is kept when it is done, in OUT/NAME/cells,
    or, on images, in a folder that all tables and figures of one paper share; the same command goes on where it was
    interrupted, a training after its last whole epoch. Cells that failed are tried again. --force starts anew. With
    --scheduler, cells go to a Dask cluster whose workers have physode installed.

    What is on images takes those of --data: whatever physode train takes. Without it, CIFAR's tables take CIFAR-10
    where its archive lies in the working folder, else, as a stand-in, simulated galaxies; galaxies are simulated.

    The exit code is 1 where every cell of a study failed, 3 where some did: what is shown is then that of the others.

    \b
    Examples:
      physode reproduce fig6
      physode reproduce fig4 fig5 fig6 --out figures --force
      physode reproduce fig5 --seed 3 --json
      physode reproduce table4 table5 --quick --jobs 2
      physode reproduce galaxy-table4 galaxy-fig5 --quick --jobs 2
      physode reproduce table2 table7 --data cifar-10-binary.tar.gz --device cuda
      physode reproduce table2 --data cifar-100-binary.tar.gz --out cifar100 --device cuda
      physode reproduce table5 --scheduler tcp://127.0.0.1:8786
    """
    if jobs is not None and scheduler is not None:
        raise click.UsageError("--jobs and --scheduler do not go together: a cluster has its own workers", ctx)
    chosen = list(EXPERIMENTS) if "all" in names else list(dict.fromkeys(names))
    if scheduler is not None:
        check_installed("distributed", extra="cluster", purpose="--scheduler")
    if any(ON_IMAGES.get(name) == "galaxy" and find_experiment(name).cells is not None for name in chosen):
        check_installed("sklearn", extra="images", purpose="classification metrics")
    if (jobs is not None or scheduler is not None) and all(find_experiment(name).cells is None for name in chosen):
        option = "--jobs" if scheduler is None else "--scheduler"
        raise click.UsageError(f"{option} needs a study of cells; there is none in {', '.join(chosen)}", ctx)
    if data is not None and not any(name in ON_IMAGES for name in chosen):
        raise click.UsageError(f"--data needs what is on images; there is none in {', '.join(chosen)}", ctx)
    if data is not None:
        check_source(data)
    from physode.datasets.files import check_folder
    from physode.datasets.locks import claimed_folder
    from physode.experiments.study import check, configuration, forget

    sources = {name: _source(name, data) for name in chosen}
    known = {path: _describe(path) for path in dict.fromkeys(sources.values())}
    configs = {name: configuration(name, seed=seed, quick=quick, images=known[path]) for name, path in sources.items()}
    for name, config in configs.items():
        check(name, config, out, overwrite=force)
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    ctx.with_resource(claimed_folder(out))
    for name, config in configs.items():
        check(name, config, out, overwrite=force)  # again: another may have been at work meanwhile
        if force:
            forget(name, config, out)
    options: dict[str, Any] = {"folder": out, "jobs": jobs or 1, "scheduler": scheduler, "device": device}
    done = {
        name: _reproduce(name, config, as_json=as_json, images=sources[name], overwrite=force, **options)
        for name, config in configs.items()
    }
    if as_json:
        show_json([_as_dict(each) for each in done.values()])
    ctx.exit(_tell_failures(done))


def _source(name: str, given: Path | None) -> Path | None:
    """Return where the images of an experiment are; None where there are none, or galaxies are simulated."""
    if name not in ON_IMAGES or given is not None:
        return given if name in ON_IMAGES else None
    return usual_images("cifar10") if ON_IMAGES[name] == "cifar" else None


def _describe(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    from physode.experiments.classifiers import describe

    with progress_bar(f"reading {path.name}") as progress:
        return describe(path, progress=progress)


def _reproduce(name: str, config: Any, *, as_json: bool, **options: Any) -> Done:
    """Run one experiment under a progress bar on stderr; show its result, unless it is to be shown with the others."""
    from rich.console import Console
    from rich.progress import Progress

    from physode.experiments.study import carry_out

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=1.0)

        def progress(fraction: float, text: str) -> None:
            bar.update(task, completed=fraction, description=f"{name} {text}".rstrip())

        done = carry_out(name, config, progress=progress, **options)
    if not as_json:
        _show(done.result, _written(done))
    return done


def _as_dict(done: Done) -> dict[str, Any]:
    from physode.experiments.report import as_dict

    return as_dict(done.result) | {"files": _written(done)}


def _written(done: Done) -> dict[str, str]:
    return {kind: str(path) for kind, path in done.files.items()}


def _tell_failures(done: Mapping[str, Done]) -> int:
    """Say on stderr which studies have cells that failed; return the exit code."""
    failed = {name: each for name, each in done.items() if each.failures}
    for name, each in failed.items():
        cell, reason = next(iter(each.failures.items()))
        click.echo(
            f"Error: {len(each.failures)} of {each.cells} cells of {name} failed ({cell}: {reason}); "
            "the same command tries them again",
            err=True,
        )
    if any(len(each.failures) == each.cells for each in failed.values()):
        return 1
    return _SOME_FAILED if failed else 0


def _show(result: Result, files: dict[str, str]) -> None:
    rows = list(result.rows)
    show_table(result.title, list(rows[0]), [list(row.values()) for row in rows])
    findings = [[each.paper, each.ours, each.agrees] for each in result.findings]
    if findings:
        show_table(f"{result.claims} and here", [result.claims, "here", "agrees"], findings)
    if result.deviations:
        deviations = [[each.item, each.paper, each.here, each.reason] for each in result.deviations]
        show_table("deviations from the paper", ["item", "the paper", "here", "reason"], deviations)
    show_pairs("written", files)
