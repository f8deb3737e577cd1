"""What a report shows of a run, before it is a page: a verdict, facts, and tabs of tables, charts, matrices and images.

Everything here is text and numbers. The page escapes all of it: names that came from files are data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

TRUSTED, DOUBTFUL, UNTRUSTED = "trusted", "doubtful", "untrusted"

MOST_ROWS = 60  # of a table that is shown
NOTHING = "-"  # in a cell that says nothing


@dataclass(frozen=True)
class Verdict:
    """Whether what a run found is to be trusted: said before everything else.

    Attributes
    ----------
    level
        ``"trusted"``, ``"doubtful"`` or ``"untrusted"``.
    status
        How it ended, in a word or two: "converged".
    sentence
        What that means.
    doubts
        What a reader should know before using the numbers.
    """

    level: str
    status: str
    sentence: str
    doubts: tuple[str, ...] = ()

    @staticmethod
    def of(*, failed: bool, status: str, sentence: str, doubts: Sequence[str] = ()) -> Verdict:
        """Judge: what failed is not to be trusted, what leaves doubts is doubtful."""
        level = UNTRUSTED if failed else DOUBTFUL if doubts else TRUSTED
        sentence = sentence.removeprefix(f"{status}: ")
        return Verdict(level, status, sentence[:1].upper() + sentence[1:], tuple(doubts))

    @property
    def words(self) -> str:
        """The judgement in words."""
        return {
            TRUSTED: "nothing speaks against these numbers",
            DOUBTFUL: "to be used with care",
            UNTRUSTED: "not to be trusted",
        }[self.level]


@dataclass(frozen=True)
class Table:
    """A table of texts; columns of numbers stand to the right.

    Attributes
    ----------
    title
        Above it.
    heads, rows
        The cells.
    numbers
        Places of the columns that hold numbers.
    note
        Below it.
    """

    kind: ClassVar[str] = "table"

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    note: str = ""

    @staticmethod
    def of(title: str, heads: Sequence[str], rows: Sequence[Sequence[str | None]], *, note: str = "") -> Table:
        """Make it of rows, without columns that are empty; columns whose cells read as numbers stand to the right."""
        filled = [i for i in range(len(heads)) if any(row[i] not in (None, "") for row in rows)]
        cells = tuple(tuple(row[i] or NOTHING for i in filled) for row in rows[:MOST_ROWS])
        numbers = frozenset(j for j in range(len(filled)) if all(_reads_as_number(row[j]) for row in cells))
        if len(rows) > MOST_ROWS:
            note = " ".join([f"The first {MOST_ROWS} of {len(rows)}.", note]).strip()
        return Table(title, tuple(heads[i] for i in filled), cells, numbers, note)


def _reads_as_number(text: str) -> bool:
    if text == NOTHING:
        return True
    try:
        float(text.removesuffix(" %"))
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Chart:
    """A chart of Plotly's that a reader zooms into.

    Attributes
    ----------
    title
        Above it.
    traces, layout
        As Plotly takes them; what all charts share is added by the page.
    note
        Below it.
    wide
        Whether it takes a whole row.
    repeated
        Whether it stands elsewhere on the page, too: paper has it once.
    """

    kind: ClassVar[str] = "chart"

    title: str
    traces: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    wide: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a matrix: its text, how strongly it is shaded, from -1 to 1, and where it leads."""

    text: str
    shade: float = 0.0
    link: str = ""


@dataclass(frozen=True)
class Matrix:
    """Numbers between names, shaded: correlations, confusion."""

    kind: ClassVar[str] = "matrix"

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    corner: str = ""
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """An image as a ``data:`` address, its name, and what there is to say of it."""

    source: str
    name: str
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Images, where a cell of a matrix leads to; `large` where they are figures, not thumbnails."""

    kind: ClassVar[str] = "gallery"

    title: str
    pictures: tuple[Picture, ...]
    anchor: str = ""
    note: str = ""
    large: bool = False


@dataclass(frozen=True)
class Text:
    """Lines of text, or a command to copy."""

    kind: ClassVar[str] = "text"

    title: str
    lines: tuple[str, ...]
    code: bool = False


Block = Table | Chart | Matrix | Gallery | Text


@dataclass(frozen=True)
class Tab:
    """Blocks under one name."""

    name: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class RunView:
    """A run as a report shows it.

    Attributes
    ----------
    name
        Of its folder.
    what
        What was run, in words.
    verdict
        Whether it is to be trusted.
    facts
        What matters most, by name.
    tabs
        Everything else.
    settings
        As texts by name, by which runs are compared.
    values
        Fitted constants, as texts by name, or figures of merit.
    curve
        Loss, or error, by epoch: what runs are compared by, and its name.
    """

    name: str
    what: str
    verdict: Verdict
    facts: Mapping[str, str]
    tabs: tuple[Tab, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    curve: tuple[str, tuple[float, ...], tuple[float | None, ...]] | None = None

    @property
    def first_chart(self) -> Chart | None:
        """The chart that a reader sees first."""
        return next((block for tab in self.tabs for block in tab.blocks if isinstance(block, Chart)), None)
