"""Several solves at once: threads of one process, processes that share gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

ROOT = Path(__file__).parents[2]

# Each process differentiates its half of the batch, the gradients are averaged; a loss of the whole batch is known.
WORKER = """
import sys, torch
import torch.distributed as dist
import physode as po

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))

class Flow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, y0):
        sol = po.solve(lambda t, y: self.net(y), y0, [0.0, 0.5, 1.0], gradient=sys.argv[2], step_control="per-sample")
        return sol.y[1:]

model = torch.nn.parallel.DistributedDataParallel(Flow())
y0 = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
model(y0.chunk(2)[dist.get_rank()]).square().mean().backward()
if dist.get_rank() == 0:
    whole = [p.grad.clone() for p in net.parameters()]
    alone = torch.autograd.grad(model.module(y0).square().mean(), list(net.parameters()))
    torch.save([whole, list(alone)], sys.argv[1])
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["aca", "adjoint"])
def test_gradients_of_two_processes_are_those_of_one(tmp_path, gradient):
    pytest.importorskip("torch.distributed")
    (tmp_path / "worker.py").write_text(WORKER)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, str(tmp_path / "worker.py"), str(tmp_path / "found.pt"), gradient]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TORCH_DISTRIBUTED_DEBUG": "OFF"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    whole, alone = torch.load(tmp_path / "found.pt", weights_only=True)
    for a, b in zip(whole, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5 if gradient == "adjoint" else 1e-10, atol=1e-7)


def gradient_of(rate, gradient):
    """Solve and differentiate y' = -rate y^2 in this thread; return the state, the gradient and what they should be."""
    k = torch.tensor(rate, requires_grad=True)
    y0 = torch.ones(3, 2)
    sol = po.solve(lambda t, y: -k * y * y, y0, torch.linspace(0, 1, 5), gradient=gradient, rtol=1e-9, atol=1e-11)
    (found,) = torch.autograd.grad(sol.y[-1].sum(), k)
    return sol.y[-1, 0, 0].item(), found.item(), 1 / (1 + rate), -6 / (1 + rate) ** 2


def test_threads_do_not_disturb_one_another():
    work = [(0.1 + 0.2 * i, gradient) for i in range(4) for gradient in ("aca", "adjoint", "naive")]
    with ThreadPoolExecutor(2) as pool:
        for state, found, right_state, right in pool.map(lambda pair: gradient_of(*pair), work):
            assert state == pytest.approx(right_state, rel=1e-7)
            assert found == pytest.approx(right, rel=1e-6)
