"""Table 4 and Figs. 10-12 of the ACA paper (Sect. 4.3): the hopper between its observations.

A model is told a tenth, a fifth or half of the points of sequences of a hopper in MuJoCo, and reconstructs all of them.
Three recurrent networks stand beside the Latent-ODE, whose latent path is differentiated by each of the three gradient
methods. Figures are mean squared errors, each channel divided by its range, times 100; beside them stands the error of
a model that knows the means of the training series only, which one that has learnt nothing does not surpass.

The paper took data, models and settings from Rubanova, Chen and Duvenaud (2019) and their published programs; the full
version has these settings, :class:`Config`, and the quick one has what two cores can do. Where they depart from the
paper stands in the study's deviations, which are printed with the table. All models have the same sequences, batches,
points told and epochs. A seed decides initial weights, order and points told; the test is the same for all, so that
models are compared seed by seed.
"""

from __future__ import annotations

from physode.experiments.report import Deviation
from physode.experiments.study import Study
from physode.experiments.table4.aggregate import aggregate, draw
from physode.experiments.table4.trainings import MODELS, Config, cell_name, cells, train_and_test

__all__ = ["MODELS", "STUDIES", "Config", "aggregate", "cell_name", "cells", "draw", "train_and_test"]

_MODELS = (
    Deviation(
        "Table 4, RNN-GRU",
        "1.97, 1.42 and 0.75, the name of the model alone",
        "GRU-D (Che et al. 2018), and a GRU that is told time gaps in a row of its own",
        "the figures are those of `RNN GRU-D` in Table 3 of Rubanova et al.: 1.968, 1.421, 0.748",
    ),
    Deviation(
        "Table 4, RNN",
        "2.45, 1.71 and 0.79: `RNN Δt` of Rubanova et al., 2.454, 1.714, 0.785, whose program has a GRU by default",
        "a tanh network; the GRU that is told time gaps has no figure beside it",
        "the paper says RNN",
    ),
    Deviation(
        "Table 4, figures with an asterisk",
        "quoted from Rubanova et al.; the Latent-ODE's are those of `Latent ODE (ODE enc)`: 0.360, 0.295, 0.285",
        "all models trained anew",
        "only so do they have the same data, points told and epochs",
    ),
    Deviation(
        "recurrent networks between observations",
        "in the program of Rubanova et al. the hidden state stays as it is where nothing is observed, and half of the "
        "inputs, in the test too, are the network's own predictions",
        "a step from the last point told to the one that is asked for, with the time between; observed inputs only",
        "what is said of a time shall depend on it, and on nothing else that is asked; at 10 % the paper's figures are "
        "above that of the means",
    ),
    Deviation(
        "recurrent networks, size",
        "not given",
        "100 components of the hidden state",
        "about as many parameters as the quick Latent-ODE has",
    ),
    Deviation(
        "Latent-ODE, recognition network",
        "in the program of Rubanova et al. the gates have hidden layers of 100 units, and the state has a mean and a "
        "deviation of 30 components each",
        "a GRU cell, and a state of 30 components",
        "the cell that the other models have",
    ),
)
_DATA = (
    Deviation(
        "data",
        "10,000 sequences as published by Rubanova et al., made with the hopper of the DeepMind Control Suite",
        "simulated anew, with the same measures and distributions of initial states; 8,000 for training, 2,000 for the "
        "test",
        "nothing has to be fetched; from the same states the suite's hopper takes the same path",
    ),
    Deviation(
        "units",
        "values from 0 to 1 by each channel's range, times from 0 to 0.5",
        "by the range, too, but with mean 0; times from 0 to 1",
        "any data are brought to these units; the readout's offset and the width of f take it up",
    ),
    Deviation(
        "test",
        "errors of three draws from the posterior, averaged, in the program of Rubanova et al.",
        "the error of the path from the posterior's mean",
        "a test without chance",
    ),
    Deviation(
        "Figs. 10-12",
        "epochs 0 to 100",
        "all epochs, by epoch and by training time; the mean of the runs with a band of one standard deviation",
        "the gradient methods differ in time more than by epoch",
    ),
    Deviation(
        "the quick version",
        "10,000 sequences, 300 epochs, the settings of Rubanova et al.",
        "1,000 sequences, twelve epochs; AdamW with one cycle of rates, noise learnt by channel, values divided by "
        "standard deviations, one draw, two layers of 100, bosh3; no order of models is read from it",
        "two cores have it in minutes, and these settings learn in them; fewer sequences have smaller ranges, which "
        "makes figures larger: compare them with that of the means",
    ),
)

STUDIES = {
    "table4": Study(Config, draw, cells=cells, aggregate=aggregate, trains=True, deviations=(*_MODELS, *_DATA)),
}
