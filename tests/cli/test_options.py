"""Shared options say what is wrong with a value."""

from __future__ import annotations

import click
import pytest
import torch
from click.testing import CliRunner

from physode.cli import options
from physode.solvers.methods import METHODS


@click.command()
@options.device_option
@options.dtype_option
@options.gradient_option
@options.method_option("tsit5")
@options.seed_option
@options.tolerance_options(atol=1e-9)
def show(**values: object) -> None:
    click.echo(repr(values))


def run(*arguments: str):
    return CliRunner().invoke(show, arguments)


def test_the_method_names_are_the_engine_s():
    assert set(METHODS) == set(options.METHODS)
    assert len(options.METHODS) == len(METHODS)
    assert tuple(name for name, tableau in METHODS.items() if tableau.adaptive) == options.ADAPTIVE_METHODS


def test_defaults():
    expected = {
        "device": "cpu",
        "dtype": "float64",
        "gradient": "aca",
        "method": "tsit5",
        "seed": 0,
        "rtol": None,
        "atol": 1e-9,
    }
    assert run().output == f"{expected!r}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rtol", "0"], "0.0 is not in the range x>0.0"),
        (["--rtol", "-1e-3"], "-0.001 is not in the range x>0.0"),
        (["--atol", "nan"], "nan is not a finite number"),
        (["--atol", "inf"], "inf is not a finite number"),
        (["--atol", "small"], "'small' is not a valid float"),
        (["--method", "rk5"], "'rk5' is not one of 'euler', 'midpoint'"),
        (["--gradient", "magic"], "'magic' is not one of 'aca', 'adjoint', 'naive'"),
        (["--dtype", "float16"], "'float16' is not one of 'float32', 'float64'"),
        (["--seed", "-1"], "-1 is not in the range 0<=x<="),
        (["--device", "abacus"], "'abacus' cannot be used here"),
    ],
)
def test_wrong_values_are_named(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused():
    result = run("--device", "cuda:0")
    assert result.exit_code == 2
    assert "'cuda:0' cannot be used here" in result.stderr
