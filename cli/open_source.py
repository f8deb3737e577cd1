"""Where an equation of the user's own comes from: Python, a model file or PEtab; and all that a fit of it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.tables import say_understood

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.estimation.problem import Estimation
    from physode.estimation.run import EstimateRun

__all__ = ["KEPT", "Asked", "Source", "find_open"]

_NUMBER = (int, float)
KEPT: Mapping[str, type[Any] | tuple[type[Any], ...]] = {
    "method": str, "rtol": _NUMBER, "atol": _NUMBER, "epochs": int, "init": Mapping, "free": (list, tuple),
    "fix": Mapping, "bounds": Mapping, "priors": Mapping, "positive": bool, "sigma": _NUMBER, "seed": int,
    "starts": int, "states": str, "observe": str, "until": _NUMBER,
}  # fmt: skip
"""Options of a fit that its run keeps, with what they are."""


@dataclass(frozen=True)
class Source:
    """Where an equation comes from.

    Attributes
    ----------
    kind
        ``"model"``: a model file; ``"python"``: FILE.py:NAME or MODULE:NAME; ``"petab"``: a PEtab problem.
    name
        As it was given.
    """

    kind: str
    name: str

    @property
    def file(self) -> Path | None:
        """The file that says what the model is."""
        place = self.name.rpartition(":")[0] if self.kind == "python" else self.name
        return Path(place) if place.endswith((".py", ".toml", ".yaml", ".yml")) else None

    def moved(self, file: Path) -> Source:
        """Return the same in another file."""
        name = f"{file}:{self.name.rpartition(':')[2]}" if self.kind == "python" else str(file)
        return Source(self.kind, name)


def find_open(options: Mapping[str, Any]) -> Source | None:
    """Return the equation of the user's own that is asked for, if any."""
    data: tuple[Path, ...] = options["data"]
    rhs: str | None = options["rhs"]
    problems = [path for path in data if path.suffix in (".yaml", ".yml")]
    if options["model"] is not None:
        if rhs is not None:
            raise click.UsageError("--model and --rhs both say what the equation is; give one of them")
        if options["model"].suffix.partition(":")[0] == ".py":
            raise click.UsageError("--model is a file of equations in TOML; give a function as --rhs FILE.py:NAME")
        return Source("model", str(options["model"]))
    if problems:
        if len(data) > 1 or rhs is not None:
            raise click.UsageError("a PEtab problem names its own data and model; give nothing beside it")
        return Source("petab", str(problems[0]))
    return Source("python", rhs) if rhs is not None and ":" in rhs else None


@dataclass(frozen=True)
class Asked:
    """What a fit is asked for.

    Attributes
    ----------
    source
        The equation.
    data
        Files.
    table
        How these are written.
    options
        Those of `KEPT`; what is None or not there is as by default.
    batches
        Whether starts go in batches of their own.
    """

    source: Source
    data: tuple[Path, ...]
    table: TableOptions
    options: Mapping[str, Any]
    batches: bool

    @staticmethod
    def of(source: Source, options: Mapping[str, Any]) -> Asked:
        """Take it from the command's options."""
        kept = {name: options[name] for name in KEPT if options[name] not in (None, (), {})}
        batches = options["jobs"] is not None or options["scheduler"] is not None
        return Asked(source, options["data"], options["table"], kept, batches)

    @staticmethod
    def of_run(run: EstimateRun, data: tuple[Path, ...] = (), table: TableOptions | None = None) -> Asked:
        """Take it from a run's settings; `data` and `table` go before what the run says."""
        from physode.cli.tables import merged
        from physode.datasets import TableOptions
        from physode.errors import ConfigError

        settings = dict(run.settings)
        try:
            source = Source(str(settings.pop("kind")), str(settings.pop("source")))
            if source.kind not in _READERS:
                raise ConfigError(f"`kind` must be one of {', '.join(_READERS)}, got {source.kind!r}")
            if source.file is not None:
                source = source.moved(run.copy_of(source.file))
            files = tuple(map(Path, settings.pop("data")))
            batches = bool(settings.pop("batches"))
            wrong = [name for name, value in settings.items() if not isinstance(value, KEPT.get(name, ()))]
            if wrong:
                raise ConfigError(f"`{wrong[0]}` is {settings[wrong[0]]!r}")
            known = TableOptions(**run.table)
        except (KeyError, TypeError, ConfigError) as error:
            raise ConfigError(f"{run.path / 'config.toml'} is damaged: {error!r}; fit it again (--force)") from error
        return Asked(source, data or files, merged(known, table or TableOptions()), settings, batches)

    def settings(self) -> dict[str, Any]:
        """Return it as a run keeps it."""
        file, data = self.source.file, [str(path.resolve()) for path in self.data]
        source = self.source if file is None else self.source.moved(file.resolve())
        asked = {name: _plain(value) for name, value in self.options.items()}
        return {"kind": source.kind, "source": source.name, "data": data, "batches": self.batches, **asked}

    @property
    def solver(self) -> dict[str, Any]:
        """How equations are solved."""
        options = self.options
        return {
            "method": options.get("method"), "rtol": options.get("rtol", 1e-8), "atol": options.get("atol", 1e-10),
        }  # fmt: skip

    @property
    def iterations(self) -> int:
        """Most evaluations of a start."""
        return int(self.options.get("epochs", 200))

    def estimation(self) -> Estimation:
        """Read the equation and the data, and make the changes that were asked for."""
        from physode.estimation.adjust import Adjustments
        from physode.estimation.influence import check_influence

        options = self.options
        estimation = Adjustments(
            guesses=options.get("init", {}),
            fixed=options.get("fix", {}),
            free=options.get("free", ()),
            bounds=options.get("bounds", {}),
            priors=options.get("priors", {}),
            positive=bool(options.get("positive")),
        ).apply(_READERS[self.source.kind](self))
        if self.source.kind == "python":
            check_influence(estimation)
        return estimation


def _model_file(asked: Asked) -> Estimation:
    from physode.equations.model_file import read_model
    from physode.errors import DataError

    name = asked.source.name
    if not asked.data:
        raise DataError(f"name the data: physode fit DATA --model {name}")
    return read_model(name).estimation(*asked.data, options=asked.table, tell=say_understood)


def _petab(asked: Asked) -> Estimation:
    from physode.petab import read_problem

    return read_problem(Path(asked.source.name))


def _python(asked: Asked) -> Estimation:
    from physode.cli.rhs_spec import find_target
    from physode.datasets import read_data
    from physode.equations.columns import observed_of, read_recordings
    from physode.errors import DataError
    from physode.estimation.from_callable import Wishes, estimation_of
    from physode.estimation.observed import observed

    f, data = find_target(asked.source.name).f, asked.data
    if not data:
        raise DataError("name the data: physode fit DATA --rhs FILE.py:NAME")
    if data[0].suffix in (".h5", ".hdf5"):
        seen = observed(read_data(data, options=asked.table))
    else:
        seen = observed_of(read_recordings(data, options=asked.table, tell=say_understood))
    return estimation_of(
        f,
        seen,
        constants=None,
        start="fit",
        observe=_words(asked.options.get("observe")),
        states=_words(asked.options.get("states")),
        sigma=asked.options.get("sigma"),
        wishes=Wishes({}, {}, (), (), ()),
        stiff=None,
    )


_READERS: Mapping[str, Callable[[Asked], Estimation]] = {"model": _model_file, "python": _python, "petab": _petab}


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",")]


def _plain(value: Any) -> Any:
    """Return an option's value as TOML can keep it."""
    if isinstance(value, Mapping):
        return {name: list(numbers) for name, numbers in value.items()}
    return list(value) if isinstance(value, tuple) else value
