"""Sect. 6.2: how many parameters the three networks have. Nothing is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from physode.experiments.images.beside import Mark, draw_beside
from physode.experiments.images.galaxy.paper import PARAMETERS
from physode.experiments.images.galaxy.plan import MODELS
from physode.experiments.report import Finding, Result
from physode.models import build_classifier, count_parameters
from physode.simulators.galaxies import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.typing import Progress

__all__ = ["Config", "draw", "run"]

_THIRD = 0.4


@dataclass(frozen=True)
class Config:
    """The networks' width, and the classes; the seed and the images' name and fingerprint are without a part."""

    seed: int = 0
    data: str = ""
    digest: str = ""
    classes: tuple[str, ...] = CLASSES
    width: int = 64

    @property
    def name(self) -> str:
        """What the files are called."""
        return "galaxy-params"


def run(config: Config, *, progress: Progress | None = None) -> Result:
    """Count the parameters of each network."""
    counts = {
        key: count_parameters(build_classifier(model.settings["model"], len(config.classes), width=config.width))
        for key, model in MODELS.items()
    }
    if progress is not None:
        progress(1.0)
    ratio = counts["node-aca"] / counts["resnet"]
    return Result(
        name=config.name,
        title="Parameters of the galaxy networks (galaxy paper, Sect. 6.2)",
        config=asdict(config),
        rows=[
            {"model": model.label, "parameters": counts[key], "the paper, about": int(PARAMETERS[key])}
            for key, model in MODELS.items()
        ],
        findings=[
            *(
                Finding(
                    f"{MODELS[key].label}: {theirs / 1e6:g} million",
                    f"{counts[key] / 1e6:.3f} million",
                    round(counts[key], -5) == theirs,
                )
                for key, theirs in PARAMETERS.items()
            ),
            Finding("NODE and NODE_ACA have a third of ResNet's", f"{ratio:.3f} of them", ratio <= _THIRD),
        ],
    )


def draw(result: Result) -> Figure:
    """Draw the numbers beside the paper's."""
    return draw_beside(
        [row["model"] for row in result.rows],
        {"": [Mark(row["parameters"] / 1e6) for row in result.rows]},
        {"": [Mark(row["the paper, about"] / 1e6) for row in result.rows]},
        quantity="parameters (millions)",
        title=result.title,
    )
