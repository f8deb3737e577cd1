"""CIFAR-10 and CIFAR-100 in their binary version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from physode.datasets.images.containers import Container
from physode.datasets.images.images import Images, Skipped
from physode.errors import DataError

_PIXELS = 3 * 32 * 32

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Cifar:
    """How one of the two is laid out: records of label bytes and pixels, one colour after the other."""

    title: str
    training: tuple[str, ...]
    test: str
    words: str
    label_bytes: int
    classes: int
    most: int
    known: tuple[str, ...] = ()

    @property
    def record(self) -> int:
        """Bytes of one image with its labels; the last label is the one that counts."""
        return self.label_bytes + _PIXELS


CIFAR = {
    "cifar10": Cifar(
        title="CIFAR-10",
        training=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test="test_batch.bin",
        words="batches.meta.txt",
        label_bytes=1,
        classes=10,
        most=10_000,
        known=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": Cifar(
        title="CIFAR-100",
        training=("train.bin",),
        test="test.bin",
        words="fine_label_names.txt",
        label_bytes=2,
        classes=100,
        most=50_000,
    ),
}


def read_cifar(container: Container, kind: str) -> Images:
    """Read the binary version of CIFAR-10 or CIFAR-100, 32 x 32 pixels, with its test images.

    A batch may hold fewer records than the published ones (10,000; of CIFAR-100's ``train.bin`` 50,000), so that parts
    of the data can be used. Of CIFAR-100's labels the fine ones are read.

    Parameters
    ----------
    container
        The folder, or the archive as published.
    kind
        ``"cifar10"`` or ``"cifar100"``.

    Raises
    ------
    DataError
        If a batch is missing, its length is not that of whole records, or a label is too large.
    """
    layout = CIFAR[kind]
    names = {PurePosixPath(entry.name).name: entry.name for entry in reversed(container.listing.entries)}
    batches = (*layout.training, layout.test)
    missing = [name for name in batches if name not in names]
    if missing:
        raise DataError(f"{container.path} lacks {', '.join(missing)} of {layout.title}; get the whole archive again")
    wanted = [names[name] for name in (*batches, layout.words) if name in names]
    contents = dict(container.contents(wanted))
    parts = [_batch(container, name, contents.get(names[name]), layout) for name in batches]
    return Images(
        x=np.concatenate([x for x, _ in parts]),
        y=np.concatenate([y for _, y in parts]),
        classes=_classes(contents.get(names.get(layout.words, "")), layout),
        test=np.repeat([name == layout.test for name in batches], [len(y) for _, y in parts]),
        attrs={"name": kind, "source": str(container.path)},
    )


def _batch(container: Container, name: str, data: bytes | Skipped | None, layout: Cifar) -> tuple[Array, Array]:
    where = f"{container.path}: {name}"
    if not isinstance(data, bytes):
        raise DataError(f"{where} cannot be read: {data.reason if data else 'it is missing'}")
    count, rest = divmod(len(data), layout.record)
    if rest or not 1 <= count <= layout.most:
        raise DataError(
            f"{where} has {len(data)} bytes, which are not 1 to {layout.most} records of {layout.record}; "
            f"get the binary version of {layout.title} again"
        )
    records = np.frombuffer(data, dtype=np.uint8).reshape(count, layout.record)
    labels = records[:, layout.label_bytes - 1]
    if labels.max() >= layout.classes:
        raise DataError(f"{where} has the label {labels.max()}, but {layout.title} has {layout.classes} classes")
    return records[:, layout.label_bytes :].reshape(count, 3, 32, 32), labels.astype(np.int64)


def _classes(data: bytes | Skipped | None, layout: Cifar) -> tuple[str, ...]:
    """Return the classes' names as the file of names has them, or known ones, or numbers."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else ""
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) == layout.classes and len(set(names)) == len(names):
        return names
    return layout.known or tuple(map(str, range(layout.classes)))
