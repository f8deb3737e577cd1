"""What is in a set of images."""

from __future__ import annotations

from typing import Any

from physode.datasets.images.images import Images

__all__ = ["summarise_images"]


def summarise_images(images: Images) -> dict[str, Any]:
    """Describe images.

    Returns
    -------
    dict
        ``images``, ``height``, ``width``, ``training``, ``test`` (numbers of images), ``classes`` (a list of
        ``class``, ``name``, ``training``, ``test``, and for Galaxy Zoo ``found``, ``published`` and ``conditional``,
        see :func:`physode.datasets.images.galaxy_classes`), ``skipped`` (a list of ``path`` and ``reason``),
        ``digest`` and ``attributes``.
    """
    training, test = images.training().counts(), images.testing().counts()
    attributes = dict(images.attrs)
    counts = {
        name: attributes.pop(f"{name}_counts")
        for name in ("found", "published", "conditional")
        if _counts_each(attributes.get(f"{name}_counts"), len(images.classes))
    }
    return {
        "images": len(images),
        "height": images.x.shape[2],
        "width": images.x.shape[3],
        "training": sum(training),
        "test": sum(test),
        "classes": [
            {
                "class": number,
                "name": name,
                "training": training[number],
                "test": test[number],
                **{title: int(each[number]) for title, each in counts.items()},
            }
            for number, name in enumerate(images.classes)
        ],
        "skipped": [{"path": each.path, "reason": each.reason} for each in images.skipped],
        "digest": images.digest(),
        "attributes": attributes,
    }


def _counts_each(value: Any, classes: int) -> bool:
    return isinstance(value, list) and len(value) == classes and all(isinstance(each, int) for each in value)
