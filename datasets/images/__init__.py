"""Labelled images: CIFAR, Galaxy Zoo, folders of files, npz and HDF5, described in ``docs/data.md``."""

from __future__ import annotations

from physode.datasets.images.formats import KINDS, ImageKind, kind_of_images, read_images
from physode.datasets.images.galaxy_zoo import PUBLISHED_COUNTS, Votes, galaxy_classes, read_votes
from physode.datasets.images.hdf5 import IMAGE_SCHEMA_VERSION, holds_images, write_images
from physode.datasets.images.images import Images, Skipped, summarise_images
from physode.datasets.images.unlabelled import joined, read_unlabelled

__all__ = [
    "IMAGE_SCHEMA_VERSION",
    "KINDS",
    "PUBLISHED_COUNTS",
    "ImageKind",
    "Images",
    "Skipped",
    "Votes",
    "galaxy_classes",
    "holds_images",
    "joined",
    "kind_of_images",
    "read_images",
    "read_unlabelled",
    "read_votes",
    "summarise_images",
    "write_images",
]
