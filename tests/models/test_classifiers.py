"""The classifiers: sizes, twins, first weights, and what is refused."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from physode import ACA, solve
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
from physode.models.residual import FORMS

SMALL = {"node18": {"width": 4}, "resnet18": {"width": 4}, "galaxy-node": {"width": 8}, "galaxy-resnet": {"width": 8}}
SMALL |= {"resnet50": {"width": 4}}


@pytest.mark.parametrize("form", FORMS)
def test_node18_has_the_parameters_of_resnet18(form):
    """11,173,962 is the count of ResNet18 for CIFAR-10 as usually built."""
    assert count_parameters(node18(10, form=form)) == count_parameters(resnet18(10, form=form)) == 11_173_962
    assert count_parameters(node18(100, form=form)) == count_parameters(resnet18(100, form=form))
    assert count_parameters(node18(100, form=form)) == 11_173_962 + 90 * 513


@pytest.mark.parametrize(
    ("name", "of_imagenet", "of_cifar"),
    [("resnet18", 11_689_512, 11_173_962), ("resnet50", 25_557_032, 23_520_842), ("resnet101", 44_549_160, 42_512_970)],
)
def test_resnets_have_the_parameters_of_torchvision_s_but_for_the_first_convolution(name, of_imagenet, of_cifar):
    """Counts of torchvision's for 1,000 classes, and with a 3x3 beginning for 10."""
    first = 64 * 3 * (7 * 7 - 3 * 3)
    assert count_parameters(build_classifier(name, 1000)) == of_imagenet - first
    assert count_parameters(build_classifier(name, 10)) == of_cifar


def test_bottlenecks_narrow_and_halve_the_image_at_their_3x3_convolution():
    model = build_classifier("resnet50", 10, width=4).eval()
    convolutions = [module for module in model.blocks[6].f if isinstance(module, nn.Conv2d)]  # the second stage's first
    shapes = [(each.in_channels, each.out_channels, each.kernel_size[0], each.stride[0]) for each in convolutions]
    assert shapes == [(16, 8, 1, 1), (8, 8, 3, 2), (8, 32, 1, 1)]
    assert model.blocks(model.stem(torch.randn(1, 3, 32, 32))).shape == (1, 128, 4, 4)
    assert sum(isinstance(module, nn.Conv2d) for module in build_classifier("resnet101", 10, width=4).modules()) == 104


def test_the_galaxy_node_has_a_third_of_its_twin_s_parameters():
    assert count_parameters(galaxy_node()) / 1e6 == pytest.approx(0.2, abs=0.01)
    assert count_parameters(galaxy_resnet()) / 1e6 == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("form", FORMS)
def test_resnet18_is_node18_with_one_euler_step(form):
    torch.manual_seed(0)
    node, resnet = node18(10, width=4, form=form).eval(), resnet18(10, width=4, form=form).eval()
    for each in ode_blocks(node):
        nn.init.constant_(each.f.last.weight, 5.0)  # 0 at first, of one of them, and small of the other
    resnet.load_state_dict(node.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(node(x), resnet(x), atol=1e-3)
    set_solver(node, EULER)
    torch.testing.assert_close(node(x), resnet(x), rtol=0, atol=0)


def test_blocks_begin_as_the_identity():
    x = torch.randn(2, 4, 8, 8)
    node = node18(10, width=4, solver=Solver("rk4", step=0.5))
    for model in (node, galaxy_node(width=4), galaxy_resnet(width=4)):
        torch.testing.assert_close(ode_blocks(model)[0](x), x, rtol=0, atol=0)


def test_published_node18_integrates_the_second_block_of_each_stage():
    model = node18(10, form="published")
    assert [block.f.last.num_features for block in ode_blocks(model)] == [64, 128, 256, 512]
    kinds = [type(block).__name__ for block in model.blocks]
    assert kinds == ["_Residual", "ReLU", "ODEBlock"] * 4
    assert isinstance(model.blocks[0].project, nn.Identity)
    assert not isinstance(model.blocks[3].project, nn.Identity)


def test_node18_integrates_the_five_blocks_of_unchanged_shape():
    assert [block.f.last.num_features for block in ode_blocks(node18(10))] == [64, 64, 128, 256, 512]


def test_states_of_published_blocks_only_grow():
    """Their f ends with a ReLU, so that a ReLU after the sum would change nothing."""
    torch.manual_seed(0)
    model = node18(10, width=4, form="published").eval()
    x = model.stem(torch.randn(2, 3, 32, 32))
    for block in model.blocks:
        y = block(x)
        if isinstance(block, ODEBlock):
            assert bool((y >= x).all())
            assert float((y - x).detach().max()) > 0
        x = y


def heun(f, y, times):
    """Heun's method by hand on known times."""
    for start, end in itertools.pairwise(times):
        first = f(y)
        second = f(y + (end - start) * first)
        y = y + (end - start) / 2 * (first + second)
    return y


class Accepted(nn.Module):
    """An ODE block as plain operations on the steps that its solver accepts."""

    def __init__(self, block):
        super().__init__()
        self.f, self.solver, self.attempts = block.f, block.solver, None

    def forward(self, y):
        searched = copy.deepcopy(self.f)
        with torch.no_grad():
            found = solve(lambda t, y: searched(y), y.detach(), [0.0, 1.0], **self.solver.arguments())
        self.attempts = (float(found.stats.accepted), float(found.stats.rejected))
        return heun(self.f, y, found.step_times)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("gradient", ["aca", ACA(memory="checkpoint")])
@pytest.mark.parametrize("form", FORMS)
def test_node18_by_aca_is_plain_autograd_through_its_accepted_steps(form, gradient):
    """States, gradients of all weights, and batch norm's statistics, which move once an accepted evaluation."""
    torch.manual_seed(0)
    model = node18(5, width=4, form=form, solver=Solver(gradient=gradient)).train()
    for each in ode_blocks(model):
        nn.init.constant_(each.f.last.weight, 10.0)  # hard enough that steps are rejected
    plain = copy.deepcopy(model)
    plain.blocks = nn.Sequential(*(Accepted(block) if isinstance(block, ODEBlock) else block for block in plain.blocks))
    x, y = torch.randn(6, 3, 8, 8), torch.arange(6) % 5
    scores = [network(x) for network in (model, plain)]
    torch.testing.assert_close(*scores, rtol=1e-9, atol=1e-9)
    for each in scores:
        nn.functional.cross_entropy(each, y).backward()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-7, atol=1e-9)
    for one, other in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    attempts = [each.attempts for each in plain.blocks if isinstance(each, Accepted)]
    assert [(each.work().accepted, each.work().rejected) for each in ode_blocks(model)] == attempts
    assert sum(rejected for _, rejected in attempts) > 0
    for block, (accepted, _) in zip(ode_blocks(model), attempts, strict=True):
        assert int(block.f.last.num_batches_tracked) == 2 * accepted


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
    model = node18(1000)
    convolution, linear = model.blocks[0].f[0], model.classify[-1]
    assert float(convolution.weight.detach().std()) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)
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


@pytest.mark.parametrize(("name", "form"), [("node18", "published"), ("resnet18", "published"), ("resnet50", None)])
def test_weights_of_published_networks_are_torch_s_default(name, form):
    """Uniform within 1 / sqrt(fan in)."""
    torch.manual_seed(0)
    model = build_classifier(name, 10, width=16, form=form)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            assert 0.9 * bound < float(module.weight.detach().abs().max()) <= bound
        elif isinstance(module, nn.BatchNorm2d):
            assert float(module.weight.detach().min()) == 1.0


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
        ("resnet18", {"form": "v2"}, "`form` must be one of identity, published, got 'v2'"),
    ],
)
def test_what_cannot_be_built_is_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_classifier(name, 5, **options)
