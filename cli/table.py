"""The commands by name, so that ``physode --help`` lists them without importing any."""

from __future__ import annotations

__all__ = ["COMMANDS"]

COMMANDS = {
    "simulate": "Make trajectories of a system, or images of galaxies.",
    "prepare": "Read images of any kind, and write them to HDF5.",
    "fit": "Fit a right-hand side to observed trajectories.",
    "train": "Train a classifier of images, or a model of time series.",
    "evaluate": "Test trained models.",
    "plot": "Draw the figures of a run.",
    "profile": "Profile the likelihood of a fitted constant.",
    "animate": "Animate a run: fitted against true trajectories.",
    "inspect": "Describe a file of trajectories or images.",
    "gradcheck": "Check gradients of your own right-hand side.",
    "info": "Show versions, devices and methods.",
    "reproduce": "Reproduce figures and tables of the papers.",
}
"""One line of help by name; the command itself is ``physode.cli.commands.<name>.command``."""
