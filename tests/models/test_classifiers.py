"""The classifiers: sizes, twins, first weights, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from physode.errors import ConfigError
from physode.models import (
    EULER,
    ODEBlock,
    Solver,
    build_classifier,
    count_parameters,
    galaxy_node,
    galaxy_resnet,
    node18,
    ode_blocks,
    resnet18,
    set_solver,
)

SMALL = {"node18": {"width": 4}, "resnet18": {"width": 4}, "galaxy-node": {"width": 8}, "galaxy-resnet": {"width": 8}}


def test_node18_has_the_parameters_of_resnet18():
    """11,173,962 is the count of ResNet18 for CIFAR-10 as usually built."""
    assert count_parameters(node18(10)) == count_parameters(resnet18(10)) == 11_173_962
    assert count_parameters(node18(100)) == count_parameters(resnet18(100)) == 11_173_962 + 90 * 513


def test_the_galaxy_node_has_a_third_of_its_twin_s_parameters():
    assert count_parameters(galaxy_node()) / 1e6 == pytest.approx(0.2, abs=0.01)
    assert count_parameters(galaxy_resnet()) / 1e6 == pytest.approx(0.6, abs=0.03)


def test_resnet18_is_node18_with_one_euler_step():
    torch.manual_seed(0)
    node, resnet = node18(10, width=4).eval(), resnet18(10, width=4).eval()
    for each in ode_blocks(node):
        nn.init.ones_(each.f.last.weight)  # 0 at first
    resnet.load_state_dict(node.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(node(x), resnet(x), atol=1e-3)
    set_solver(node, EULER)
    torch.testing.assert_close(node(x), resnet(x), rtol=0, atol=0)


def test_blocks_begin_as_the_identity():
    x = torch.randn(2, 4, 8, 8)
    for model in (node18(10, width=4, solver=Solver("rk4", step=0.5)), galaxy_node(width=4), galaxy_resnet(width=4)):
        torch.testing.assert_close(ode_blocks(model)[0](x), x, rtol=0, atol=0)


def test_node18_integrates_the_five_blocks_of_unchanged_shape():
    assert [block.f.last.num_features for block in ode_blocks(node18(10))] == [64, 64, 128, 256, 512]


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_gets_a_gradient(name):
    torch.manual_seed(0)
    model = build_classifier(name, 5, **SMALL[name])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(8, 3, 32, 32), torch.randint(5, (8,))
    for _ in range(2):  # at first, blocks that are 0 let nothing into their inner weights
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    without = [name for name, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0]
    # A bias before a batch norm is without effect.
    assert [name for name in without if not name.endswith("bias")] == []


@pytest.mark.parametrize("name", SMALL)
def test_a_classifier_is_a_module_with_a_state_dict(name, tmp_path):
    torch.manual_seed(0)
    one = build_classifier(name, 5, **SMALL[name])
    torch.save(one.state_dict(), tmp_path / "weights.pt")
    other = build_classifier(name, 5, **SMALL[name])
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(one.eval()(x), other.eval()(x), rtol=0, atol=0)


def test_weights_are_he_et_al_s():
    torch.manual_seed(0)
    convolution = node18(10).blocks[0].f[0]
    assert float(convolution.weight.detach().std()) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)
    linear = node18(1000).classify[-1]
    assert float(linear.weight.detach().std()) == pytest.approx(math.sqrt(1 / 512), rel=0.02)
    assert float(linear.bias.detach().abs().max()) == 0.0


@pytest.mark.parametrize("make", [galaxy_node, galaxy_resnet])
def test_he_s_start_leaves_the_last_layers_as_they_were_drawn(make):
    torch.manual_seed(0)
    theirs = make(width=8, start="he")
    torch.manual_seed(0)
    ours = make(width=8)
    apart = {name for name, value in theirs.state_dict().items() if not torch.equal(value, ours.state_dict()[name])}
    ends = {f"blocks.{name}" for name, block in theirs.blocks.named_modules() if block in ode_blocks(theirs)}
    assert len(apart) == len(ends) == len(ode_blocks(theirs))
    x = torch.randn(2, 8, 7, 7)
    assert not torch.allclose(ode_blocks(theirs)[0](x), x, atol=0.1)
    with pytest.raises(ConfigError, match="`start` must be one of identity, he"):
        build_classifier("galaxy-node", 5, start="zero")


def test_a_timed_block_sees_the_time_in_one_more_channel():
    torch.manual_seed(0)
    model = galaxy_node(width=8, timed=True, start="he").double().eval()
    f, y = model.blocks.f, torch.randn(3, 8, 7, 7, dtype=torch.float64)
    early, late = f(torch.tensor(0.25), y), f(torch.tensor(0.75), y)
    assert not torch.allclose(early, late, atol=1e-3)
    each = f(torch.tensor([0.25, 0.75, 0.25]), y)
    torch.testing.assert_close(each, torch.stack([early[0], late[1], early[2]]))
    kernel = f.convolutions[0].weight[:, -1].sum((1, 2))  # of the channel of time, away from edges
    inner = nn.functional.conv2d(y, f.convolutions[0].weight[:, :-1], padding=1)[:, :, 3, 3] + 0.75 * kernel
    together = torch.cat([y, torch.full((3, 1, 7, 7), 0.75, dtype=torch.float64)], 1)
    torch.testing.assert_close(f.convolutions[0](together)[:, :, 3, 3], inner)


def test_a_timed_block_is_integrated_as_the_equation_that_depends_on_time():
    model = ODEBlock(Cosine(), solver=Solver("dopri5", 1e-9, 1e-9), timed=True).eval()
    y = torch.zeros(2, 1, dtype=torch.float64)
    torch.testing.assert_close(model(y), torch.full_like(y, math.sin(1)), rtol=1e-8, atol=0)
    model.solver = EULER
    torch.testing.assert_close(model(y), torch.ones_like(y))


class Cosine(nn.Module):
    """dy/dt = cos t."""

    def forward(self, t, y):
        return torch.cos(t.to(y)).reshape(-1, 1).expand_as(y)


@pytest.mark.parametrize("gradient", ["aca", "adjoint"])
def test_gradients_of_a_timed_network_are_the_naive_ones(gradient):
    found = {}
    for method in ("naive", gradient):
        torch.manual_seed(0)
        model = galaxy_node(
            3, width=4, timed=True, start="he", norm="group", solver=Solver("rk4", step=0.1, gradient=method)
        )
        model.double()
        model(torch.randn(2, 3, 32, 32, dtype=torch.float64)).square().sum().backward()
        found[method] = [parameter.grad for parameter in model.parameters()]
    tolerance = 1e-9 if gradient == "aca" else 1e-2
    largest = max(float(each.abs().max()) for each in found["naive"])
    for one, other in zip(found["naive"], found[gradient], strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * largest)


def test_augmented_channels_begin_at_zero_and_are_used():
    torch.manual_seed(0)
    model = galaxy_node(5, width=8, augmented=3).eval()
    inner = model.downsample(torch.randn(2, 3, 32, 32))
    assert inner.shape[1] == 8
    assert float(inner.detach()[:, 5:].abs().max()) == 0.0
    nn.init.ones_(model.blocks.f.last.weight)  # 0 at first
    assert float(model.blocks(inner)[:, 5:].detach().abs().max()) > 0.0


@pytest.mark.parametrize("size", [32, 33, 48])
def test_images_may_be_of_other_sizes(size):
    assert build_classifier("node18", 3, width=4).eval()(torch.randn(1, 3, size, size)).shape == (1, 3)
    assert build_classifier("galaxy-node", 3, width=8).eval()(torch.randn(1, 3, size, size)).shape == (1, 3)


def test_dropout_is_at_work_in_training_only():
    torch.manual_seed(0)
    model = build_classifier("galaxy-node", 5, width=8, dropout=0.8, norm="group")
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_group_norm_makes_samples_independent_in_training_too():
    torch.manual_seed(0)
    model = build_classifier("galaxy-node", 5, width=8, norm="group", solver=Solver("rk4", step=0.5))
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alexnet", {}, "`model` must be one of node18, .*; got 'alexnet'"),
        ("node18", {"dropout": 0.5}, "the model node18 has no `dropout`; it has"),
        ("galaxy-node", {"augmented": 64}, "`augmented` must be at least 0 and below `width` 64, got 64"),
        ("node18", {"norm": "layer"}, "`norm` must be one of batch, group, got 'layer'"),
    ],
)
def test_what_cannot_be_built_is_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_classifier(name, 5, **options)


def test_deeper_networks_need_torchvision(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "torchvision.models", raising=False)
    with pytest.raises(ConfigError, match=r"needs torchvision; install it with: pip install 'physode\[torchvision\]'"):
        build_classifier("resnet50", 10)


def test_deeper_networks_are_torchvision_s_with_a_small_beginning():
    pytest.importorskip("torchvision")
    assert build_classifier("resnet50", 10).eval()(torch.randn(1, 3, 32, 32)).shape == (1, 10)
