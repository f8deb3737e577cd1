"""Models: image classifiers of continuous depth and their residual twins, and networks that know no equation."""

from __future__ import annotations

from physode.models.galaxy import GalaxyNetwork, galaxy_node, galaxy_resnet
from physode.models.latent_ode import LatentODE
from physode.models.layers import count_parameters
from physode.models.lstm import TrajectoryLSTM
from physode.models.ode_block import ODEBlock, ode_blocks, set_solver
from physode.models.recurrent import GRUD, ODERNN, GapRNN
from physode.models.registry import CLASSIFIERS, SERIES_MODELS, build_classifier, build_series_model
from physode.models.residual import ResidualNetwork, node18, resnet18
from physode.models.solver import EULER, Solver
from physode.models.solver_stats import Work, work_of
from physode.models.windows import cut, time_step

__all__ = [
    "CLASSIFIERS",
    "EULER",
    "GRUD",
    "ODERNN",
    "SERIES_MODELS",
    "GalaxyNetwork",
    "GapRNN",
    "LatentODE",
    "ODEBlock",
    "ResidualNetwork",
    "Solver",
    "TrajectoryLSTM",
    "Work",
    "build_classifier",
    "build_series_model",
    "count_parameters",
    "cut",
    "galaxy_node",
    "galaxy_resnet",
    "node18",
    "ode_blocks",
    "resnet18",
    "set_solver",
    "time_step",
    "work_of",
]
