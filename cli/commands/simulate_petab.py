"""``physode simulate problem.yaml``: a PEtab problem at its nominal parameters, into PEtab's simulation table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.numbers import Whole
from physode.cli.options import (
    ADAPTIVE_METHODS,
    force_option,
    json_option,
    method_option,
    threads_option,
    tolerance_options,
)
from physode.cli.paths import PATH, SOURCE
from physode.cli.show import precise, show_json, show_pairs, show_table
from physode.progress import showing_progress

if TYPE_CHECKING:
    from physode.petab.simulation import Simulated

__all__ = ["is_problem", "problem_command"]


def is_problem(word: str) -> bool:
    """Return whether a word names a file that could be a PEtab problem."""
    return word.lower().endswith((".yaml", ".yml"))


def problem_command(name: str) -> click.Command:
    """Return the command that simulates a problem."""
    path = Path(name)

    @click.command(name)
    @click.option(
        "--output", type=PATH, help=f"The table to write.  [default: {path.stem}_simulations.tsv, in this folder]"
    )
    @method_option("rodas5p", methods=ADAPTIVE_METHODS)
    @tolerance_options(rtol=1e-8, atol=1e-12)
    @click.option("--max-steps", type=Whole(1), default=10_000, show_default=True, help="Most steps an experiment.")
    @threads_option("1")
    @force_option
    @json_option
    def command(output: Path | None, **options: Any) -> None:
        """Simulate this PEtab problem at its nominal parameters, and write PEtab's simulation table.

        The table is that of the measurements, with what the model gives in place of what was measured. Log-likelihood
        and chi-square of the measurements are shown.
        """
        _simulate(path, output or Path(f"{path.stem}_simulations.tsv"), options)

    return command


def _simulate(path: Path, output: Path, options: dict[str, Any]) -> None:
    SOURCE.convert(path, None, None)
    import torch

    from physode.datasets.files import check_output
    from physode.estimation.simulation import SolverOptions
    from physode.petab import write_simulations
    from physode.petab.simulation import simulate_problem

    check_output(output, overwrite=options["force"])
    torch.set_num_threads(options["threads"] or 1)
    with showing_progress(f"simulating {path.name}"):
        simulated = simulate_problem(
            path, SolverOptions(**{name: options[name] for name in ("method", "rtol", "atol", "max_steps")})
        )
    write_simulations(path, simulated.values, output, overwrite=options["force"])
    summary = _summary(path, output, simulated)
    if options["as_json"]:
        show_json(summary)
    else:
        rows = summary.pop("observables")
        show_table("observables", list(rows[0]), [list(row.values()) for row in rows])
        numbers = {name: precise(summary.pop(name)) for name in ("log_likelihood", "chi_square")}
        pairs = {name.replace("_", " "): value for name, value in (numbers | summary).items() if name != "output"}
        show_pairs(str(output), pairs)


def _summary(path: Path, output: Path, simulated: Simulated) -> dict[str, Any]:
    estimation, values = simulated.estimation, simulated.values
    which = estimation.measurements.observable
    observables = []
    for index, observable in enumerate(estimation.observables):
        own = values[which == index]
        if len(own):
            observables.append({
                "observable": observable.name, "values": len(own), "least": float(own.min()),
                "largest": float(own.max()),
            })  # fmt: skip
    return {
        "output": str(output),
        "problem": str(path),
        "log_likelihood": simulated.log_likelihood,
        "chi_square": simulated.chi_square,
        "values": len(values),
        "experiments": len(estimation.experiments),
        "states": len(estimation.model.states),
        "free_parameters": len(estimation.free),
        "observables": observables,
    }
