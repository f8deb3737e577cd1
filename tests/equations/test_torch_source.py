"""Models printed as PyTorch modules, which compute the same."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from physode.equations.model import model_of
from physode.equations.model_file import read_model
from physode.equations.torch_source import torch_source

EQUATIONS = [
    ("x' = v\nv' = -k*x - (c - v)*v + 2*cos(1.5*t)/x^-2", "k = 2.0\nc = 0.1"),
    ("x'' = -k*x - x'^2*k - (k - x - 3)", "k = 2.0"),
    ("x' = 1\ny' = k\nz' = t*k", "k = { value = 2.0 }"),
    ("x' = piecewise(sqrt(k), x > 0.5 and not t > 3, exp(-x), x < 0 or k, log(2 + x, 3))", "k = { value = 2 }"),
    ("x' = piecewise(0.1, t > 3, 0.3)*x + k + y\ny' = x", "k = 2.0"),
    ("x' = (x > k) + (x < 2)*2 + step(x - k) + sigmoid(x) + min(x, k, 2) + max(1, x) + mod(x, 0.3)", "k = 0.7"),
    ("lambda' = -y*lambda + atan2(lambda, 2) + asinh(lambda) + tan(lambda) + log10(lambda + 2)^-k", "y = 2.0\nk = 0.5"),
    ("x' = u*x - w'", "[inputs]\nu = 'u'\n\"w'\" = 'w'"),
    ("x' = piecewise(x, x > -inf, -k)", "k = { column = 'k' }"),
]  # fmt: skip


@pytest.mark.parametrize(("equations", "constants"), EQUATIONS)
def test_the_module_computes_the_model_s_right_hand_side(tmp_path, equations, constants):
    path = tmp_path / "some model.toml"
    path.write_text(f'version = 1\nequations = """\n{equations}\n"""\n[constants]\n{constants}\n')
    declarations = read_model(path).declarations
    (tmp_path / "module.py").write_text(torch_source(declarations))
    spec = importlib.util.spec_from_file_location("module", tmp_path / "module.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    given = [lambda t, i=i: t + i for i in range(len(declarations.inputs))]
    module = loaded.SomeModel(*given)

    names = [constant.name for constant in declarations.constants]
    values = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    p = [float(values[name if name != "y" else "y_"].detach()) for name in names]
    states = [state.name for state in declarations.states]
    model = model_of(
        states, [state.rate for state in declarations.states], [state.rate for state in declarations.states][:0],
        names, p, inputs=[each.name for each in declarations.inputs],
    )  # fmt: skip
    y = torch.tensor([[0.3, 1.2, -0.4]], dtype=torch.float64)[:, : len(states)]
    for time in (0.5, 4.0):
        t = torch.tensor(time, dtype=torch.float64)
        u = torch.tensor([[float(each(t)) for each in given]], dtype=torch.float64)
        expected = model.rhs(t.reshape(1), y, torch.tensor([p], dtype=torch.float64), u)
        torch.testing.assert_close(module(t, y), expected)
