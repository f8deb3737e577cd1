"""Sects. 5.4, 6.1 and 6.2: forward passes, time, accuracy and parameters of each network and solver.

Passes are evaluations of the right-hand side, counted, those of rejected steps among them; where the adjoint method
begins, one more looks which weights it depends on. ACA evaluates nothing again where it kept the graphs of its steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.classifiers import probabilities_of
from physode.experiments.comparison_plot import Mark, colour_of
from physode.experiments.galaxy.config import ALL, TOLERANCES, Config, cells_of, heading, repeats_of
from physode.experiments.repeats import Repeats, deviation, every_training_ends, held_against, mean
from physode.experiments.report import Finding, Result
from physode.models.solver import Solver, solver_label
from physode.plotting.style import INK, new_figure, plain, styled
from physode.sweeps.cells import Cell, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCKS = 6
"""L, the blocks of ResNet."""

_HALF = 0.6  # what counts as roughly half
_LIKE, _MUCH = 2.0, 4.0  # times L: comparable with it, and much more
_TICKS = (5, 10, 20, 50, 100, 200)  # passes
_SOLVER = ("method", "rtol", "atol", "step", "gradient")

ERROR = "standard error"


def cells(config: Config) -> list[Cell]:
    """Return the trainings of all networks."""
    return cells_of(config, list(ALL))


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table: a row a network, then NODE_ACA tested at other tolerances than in training."""
    repeats = {key: repeats_of(config, outcomes, key) for key in ALL}
    rows = [_row(config, key, each) for key, each in repeats.items()]
    rows += [_tested(config, repeats["node-aca"], label) for label in TOLERANCES]
    return config.result(
        config.title("Forward passes, time, accuracy and parameters", "Sects. 5.4, 6.1 and 6.2"),
        rows,
        [*_counts(repeats), *(_times(repeats) if config.compares else ()), every_training_ends(outcomes)],
    )


def draw(result: Result) -> Figure:
    """Draw forward passes an image of the test against accuracy, a mark a row, trained networks filled."""
    with styled():
        figure = new_figure(7.6, 5.4)
        axes: Any = figure.add_subplot()
        for row in result.rows:
            if row["test passes"] is None or row["accuracy (%)"] is None:
                continue
            trained = row["trained"]
            colour = colour_of(row["network"])
            mark = Mark.within(row["accuracy (%)"], row[f"accuracy, {ERROR}"])
            if mark.low is not None:
                axes.plot([row["test passes"]] * 2, [mark.low, mark.high], color=colour, lw=1.0)
            marker = "s" if "ours" in row["network"] else "o"
            look = {"mec": colour, "mfc": colour if trained else "none", "marker": marker, "ms": 6, "ls": ""}
            label = plain(f"{row['network']}: {row['solver']}") if trained else None
            axes.plot(row["test passes"], row["accuracy (%)"], label=label, **look)
        axes.plot(
            [],
            [],
            mec=INK,
            mfc="none",
            marker="o",
            ls="",
            label=f"NODE_ACA tested at {TOLERANCES[0]} to {TOLERANCES[-1]}",
        )
        axes.axvline(BLOCKS, color=INK, lw=0.8, ls=":", label=f"L = {BLOCKS}, ResNet's blocks")
        axes.set(xscale="log", xlabel="forward passes a test batch", ylabel=f"accuracy (%), ± {ERROR}")
        axes.set_xticks(_TICKS, list(map(str, _TICKS)), minor=False)
        figure.suptitle(heading(result), x=0.01, ha="left", weight="bold", size=11)
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def _row(config: Config, key: str, repeats: Repeats) -> dict[str, Any]:
    """Return the row of a network: its passes in the first epoch and the last, and what it is worth."""
    histories = [each["history"] for each in repeats.done]
    given = {name: value for name, value in ALL[key].settings.items() if name in _SOLVER}
    return {
        "network": ALL[key].label,
        "solver": f"{solver_label(Solver(**given))}, {given['gradient']}" if given else f"{BLOCKS} blocks",
        "trained": True,
        "passes, first epoch": mean([history[0]["rhs_forward"] for history in histories]),
        "passes, last epoch": mean([history[-1]["rhs_forward"] for history in histories]),
        "evaluations backward": mean([history[-1]["rhs_backward"] for history in histories]),
        "test passes": mean([history[-1]["test_rhs"] for history in histories]),
        **_worth([_accuracies(config, each) for each in repeats.done]),
        "seconds an epoch": mean([seconds / config.epochs for seconds in repeats.seconds()]),
        "parameters": repeats.parameters,
        "runs": repeats.runs,
        "note": repeats.note,
    }


def _tested(config: Config, repeats: Repeats, label: str) -> dict[str, Any]:
    """Return the row of NODE_ACA tested at a tolerance; what belongs to trainings stays empty."""
    tests = [test for test, _ in repeats.tests(label) if "failure" not in test]
    errors = [100.0 - test["error"] for test in tests]
    return {
        **dict.fromkeys(_row(config, "node-aca", Repeats({}))),
        "network": "NODE_ACA",
        "solver": f"tested at {label}",
        "trained": False,
        "test passes": mean([test["rhs"] for test in tests]),
        "accuracy (%)": mean(errors),
        f"accuracy, {ERROR}": _error(errors),
        "runs": repeats.runs,
        "note": repeats.note_of(label),
    }


def _accuracies(config: Config, result: Mapping[str, Any]) -> tuple[float, float]:
    """Return accuracy and balanced accuracy, the mean over classes of the share that is right, in percent."""
    truth, answers = np.array(result["truth"]), probabilities_of(result).argmax(1)
    shares = [float((answers[truth == label] == label).mean()) for label in np.unique(truth)]
    return 100.0 * float((answers == truth).mean()), 100.0 * float(np.mean(shares))


def _worth(accuracies: Sequence[tuple[float, float]]) -> dict[str, float | None]:
    plain_ones, balanced = ([each[place] for each in accuracies] for place in (0, 1))
    return {
        "accuracy (%)": mean(plain_ones),
        f"accuracy, {ERROR}": _error(plain_ones),
        "balanced accuracy (%)": mean(balanced),
        f"balanced accuracy, {ERROR}": _error(balanced),
    }


def _error(values: Sequence[float]) -> float | None:
    spread = deviation(values)
    return None if spread is None else spread / len(values) ** 0.5


def _last(repeats: Repeats, name: str) -> float | None:
    return mean([each["history"][-1][name] for each in repeats.done])


def _passes_at(repeats: Repeats, label: str) -> float | None:
    return mean([test["rhs"] for test, _ in repeats.tests(label) if "failure" not in test])


def _counts(repeats: Mapping[str, Repeats]) -> Iterator[Finding]:
    """Hold the paper's statements on numbers of passes against counts."""
    node, aca = repeats["node"], repeats["node-aca"]
    yield held_against(
        "forward passes of NODE_ACA are roughly half of NODE's",
        [_last(aca, "rhs_forward"), _last(node, "rhs_forward") or None],
        lambda fewer, more: f"{fewer:.3g} and {more:.3g} an update in the last epoch, {fewer / more:.2g} of them",
        lambda fewer, more: fewer / more <= _HALF,
    )
    loose, tight = TOLERANCES[0], TOLERANCES[-1]
    yield held_against(
        f"they are comparable with L = {BLOCKS} at a high tolerance",
        [_passes_at(aca, loose)],
        lambda passes: f"{passes:.3g} at {loose}",
        lambda passes: passes <= _LIKE * BLOCKS,
    )
    yield held_against(
        "and much more at a low one",
        [_passes_at(aca, tight)],
        lambda passes: f"{passes:.3g} at {tight}",
        lambda passes: passes >= _MUCH * BLOCKS,
    )


def _times(repeats: Mapping[str, Repeats]) -> Iterator[Finding]:
    for statement, above, below, enough in (
        ("NODE takes about twice NODE_ACA's time", "node", "node-aca", 1.5),
        ("NODE_ACA takes about 8 times ResNet's time (11 h and 80 min)", "node-aca", "resnet", 4.0),
    ):
        yield held_against(
            statement,
            [mean(repeats[above].seconds()), mean(repeats[below].seconds()) or None],
            lambda more, less: f"{more / less:.2g} times",
            lambda more, less, enough=enough: more / less >= enough,
        )
