"""Forces that nobody told the model of: a drag, then a fourth body that is not seen.
==================================================================================

Three bodies attract each other, and something else acts on them. Their masses are known, and where they are is seen
with an error of 1e-4. The orbits are chaotic: within the training span the known physics alone misses by hundreds of
times as much. A small network for the missing acceleration stands in for what is not known (a hybrid right-hand side).
Two things make it recover the force itself, not just any that fits these orbits:

- It is local and the same for all bodies: given a body's velocity (a drag), or its position and the time (a field), it
  returns that body's acceleration. A network of all eighteen components would fit as well, and mean nothing elsewhere.
- Least squares on the exact Jacobian of the solution, over half of the span first. Only positions are fitted, nothing
  is differenced; and the weights have a normal prior of standard deviation 1, being too many for the short span.

Then the learnt force can be read. The drag comes out as -c v. From the field, with Newton's law assumed in the end, the
unseen body's mass and place follow. The drag, a law of the velocity, holds beyond the training span; the field was
learnt where the bodies were, when they were there, and is less and less good later.

What is recovered is good to some per cent, 3 to 8 between seeds: the width, the prior and the part of the span that is
fitted first were chosen among some twenty tried. ::

    python examples/11_hidden_force.py --out .
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import least_squares
from torch import nn

import physode as po
from physode.sensitivity import sensitivities

NOISE = 1e-4
DRAG = 0.3
FOURTH = {"mass": 2.0, "position": (3.0, 0.0, -1.0), "velocity": (0.0, 0.3, 0.0)}
SIZES = {"felt": 0.5, "acceleration": 0.3}  # roughly, of what goes into the network and comes out
TOLERANCES = {"rtol": 1e-6, "atol": 1e-9}
EXACT = {"method": "dopri8", "rtol": 1e-11, "atol": 1e-13}
NAMES = {"drag": "A drag", "field": "An unseen fourth body"}


class Local(nn.Module):
    """An acceleration from what a body feels: its velocity, or its position and the time."""

    def __init__(self, kind, hidden=8):
        super().__init__()
        self.kind = kind
        self.layers = nn.Sequential(nn.Linear(3 if kind == "drag" else 4, hidden), nn.Tanh(), nn.Linear(hidden, 3))

    def forward(self, t, y):
        r, v = y.unflatten(-1, (2, 3, 3)).unbind(-3)
        felt = v if self.kind == "drag" else torch.cat((r, torch.zeros_like(r[..., :1]) + t), -1)
        a = SIZES["acceleration"] * self.layers(felt / SIZES["felt"]).flatten(-2)
        return torch.cat((torch.zeros_like(a), a), -1)


def dragged(bodies):
    """Return the three bodies' equations with the drag."""
    return lambda t, y: bodies(t, y) - DRAG * torch.cat((torch.zeros_like(y[:9]), y[9:]))


def truth(kind, bodies, y0, t):
    """Return the three bodies' states, (T, 18), and the accelerations that they do not explain themselves, (T, 9)."""
    if kind == "drag":
        y = po.solve(dragged(bodies), y0, t, **EXACT).y
        return y, -DRAG * y[:, 9:]
    four = po.rhs.NBody((*bodies.masses.tolist(), FOURTH["mass"]), G=bodies.G, velocity_scale=bodies.velocity_scale)
    start = torch.tensor((*y0[:9], *FOURTH["position"], *y0[9:], *FOURTH["velocity"]), dtype=torch.float64)
    whole = po.solve(four, start, t, **EXACT).y
    y = torch.cat((whole[:, :9], whole[:, 12:21]), -1)
    return y, four(t[0], whole)[:, 12:21] - bodies(t[0], y)[:, 9:]


def learn(hybrid, y0, t, observed, *, ends, evaluations):
    """Fit the network's weights to the positions, over one span after the other."""
    weights = list(hybrid.residual.parameters())
    prior = np.eye(sum(weight.numel() for weight in weights))  # of standard deviation 1

    def assume(values):
        nn.utils.vector_to_parameters(torch.from_numpy(values).clone(), weights)

    for end in ends:
        inside = t <= end

        def residuals(values, inside=inside):
            assume(values)
            y = po.solve(hybrid, y0, t[inside], throw=False, **TOLERANCES).y
            far = torch.nan_to_num((y - observed[inside])[:, :9] / NOISE, nan=1e6)  # a solve that ended early
            return np.concatenate((far.flatten().numpy(), values))

        def jacobian(values, inside=inside):
            assume(values)
            found = sensitivities(hybrid, y0, t[inside], weights, **TOLERANCES).jacobian[:, :9] / NOISE
            return np.concatenate((found.flatten(0, 1).numpy(), prior))

        begin = nn.utils.parameters_to_vector(weights).detach().numpy()
        found = least_squares(residuals, begin, jac=jacobian, ftol=1e-3, max_nfev=evaluations)
        assume(found.x)


def locate(bodies, t, r, felt):
    """Return mass, first position and velocity of the one body whose attraction at `r`, (T, 3, 3), is `felt`."""

    def mismatch(unknown):
        mass, place, velocity = unknown[0], unknown[1:4], unknown[4:]
        away = place + bodies.velocity_scale * velocity * t[:, None, None] - r
        pull = bodies.G * mass * away / np.linalg.norm(away, axis=-1, keepdims=True) ** 3
        return (pull - felt).ravel()

    nearby = r[0].mean(0) + 5 * felt[0].mean(0) / np.linalg.norm(felt[0].mean(0))
    return least_squares(mismatch, (1.0, *nearby, 0.0, 0.0, 0.0), x_scale="jac").x


def study(kind, *, ends, evaluations):
    """Learn one hidden force; return what was learnt beside what is true."""
    bodies = po.rhs.ThreeBody.from_preset("aca")
    y0 = torch.tensor(bodies.presets["aca"].y0, dtype=torch.float64)
    t = torch.linspace(0.0, 2 * ends[-1], int(400 * ends[-1]) + 1, dtype=torch.float64)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        y, missing = truth(kind, bodies, y0, t)
        observed = y + NOISE * torch.randn(y.shape, dtype=torch.float64)
        network = Local(kind).double()
        hybrid = po.rhs.Hybrid(bodies, network, acts_on=bodies.columns[9:], zero_init=True)
        learn(hybrid, y0, t, observed, ends=ends, evaluations=evaluations)
        learnt = network(t[:, None, None], y)[:, 9:]
        paths = {
            name: po.solve(each, y0, t, **TOLERANCES).y for name, each in (("physics", bodies), ("hybrid", hybrid))
        }
    misses = {name: (path - y)[:, :9].unflatten(-1, (3, 3)).norm(dim=-1).amax(-1) for name, path in paths.items()}
    return {
        "t": t,
        "y": y,
        "missing": missing,
        "learnt": learnt,
        "misses": misses,
        "inside": t <= ends[-1],
        "bodies": bodies,
    }


def share(found, where):
    """Return the learnt force's root mean square error as a share of the force."""
    wanted, learnt = found["missing"][where], found["learnt"][where]
    return float((learnt - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


def read_force(kind, found):
    """Return what the force learnt in training says about its cause."""
    inside = found["inside"]
    r, v = found["y"][inside].unflatten(-1, (2, 3, 3)).unbind(1)
    felt = found["learnt"][inside].unflatten(-1, (3, 3))
    if kind == "drag":
        coefficient = -float((felt * v).sum() / v.square().sum())
        print(f"  a drag of c = {coefficient:.4f} (true: {DRAG})")
        return {"coefficient": coefficient}
    mass, *place = locate(found["bodies"], found["t"][inside].numpy(), r.numpy(), felt.numpy())[:4]
    where, true = (", ".join(f"{x:.2f}" for x in each) for each in (place, FOURTH["position"]))
    print(f"  a body of mass {mass:.2f} at ({where}) (true: {FOURTH['mass']} at ({true}))")
    return {"mass": float(mass), "off": float(np.linalg.norm(np.subtract(place, FOURTH["position"])))}


def draw_row(kind, found, axes):
    """Draw force over time, force as a body feels it, and how far predictions miss."""
    t, inside, y = found["t"], found["inside"], found["y"]
    for place in (axes[0], axes[2]):
        place.axvspan(0, float(t[inside][-1]), color="gray", alpha=0.12)
        place.set(xlabel="time")
    for index, axis in enumerate("xyz"):
        axes[0].plot(t, found["missing"][:, index], color=f"C{index}", lw=5, alpha=0.3)
        axes[0].plot(t, found["learnt"][:, index], color=f"C{index}", lw=1.2, label=axis)
    axes[0].set(ylabel="acceleration of body 1", title=f"{NAMES[kind]}: true (broad) and learnt")
    axes[0].legend(ncols=3, fontsize="small")
    if kind == "drag":
        axes[1].plot(y[inside, 9:].flatten(), found["learnt"][inside].flatten(), ".", ms=3, label="learnt, in training")
        ends = torch.tensor([y[inside, 9:].min(), y[inside, 9:].max()])
        axes[1].plot(ends, -DRAG * ends, color="k", lw=0.8, label=f"$-{DRAG}\\,v$")
        axes[1].set(xlabel="component of a velocity", ylabel="acceleration", title="The force as a body feels it")
    else:
        few = inside.nonzero().flatten()[::12]
        r = y[few, :9].unflatten(-1, (3, 3)).flatten(0, 1)
        for name, colour, width in (("missing", "0.75", 0.012), ("learnt", "C0", 0.004)):
            a = found[name][few].unflatten(-1, (3, 3)).flatten(0, 1)
            label = "true" if name == "missing" else "learnt"
            axes[1].quiver(r[:, 0], r[:, 1], a[:, 0], a[:, 1], color=colour, width=width, scale=0.4, label=label)
        axes[1].margins(0.15)
        axes[1].update_datalim(r[:, :2] + 0.1)  # arrows are longer than what they start from
        axes[1].autoscale_view()
        axes[1].set(xlabel="x", ylabel="y", title="The field along the bodies' orbits")
    axes[1].legend(fontsize="small")
    for name, label in (("physics", "known physics"), ("hybrid", "with the learnt force")):
        axes[2].semilogy(t[1:], found["misses"][name][1:], label=label)
    axes[2].axhline(NOISE, color="gray", ls=":", label="noise")
    axes[2].set(ylabel="largest distance from the truth", title="Fitted (gray), then predicted", ylim=(1e-6, None))
    axes[2].legend(fontsize="small", loc="lower right")


def main(out: Path, *, ends: tuple[float, ...] = (0.25, 0.5), evaluations: int = 20) -> dict[str, float]:
    torch.set_num_threads(1)
    figure, axes = plt.subplots(2, 3, figsize=(15, 8), layout="constrained")
    figures = {}
    for kind, row in zip(NAMES, axes, strict=True):
        found = study(kind, ends=ends, evaluations=evaluations)
        inside, end = found["inside"], ends[-1]
        for where, chosen in (("training", inside), ("beyond", ~inside)):
            figures[f"{kind}, {where}"] = share(found, chosen)
            for name, miss in found["misses"].items():
                figures[f"{kind}, {name}, {where}"] = float(miss[chosen].square().mean().sqrt())
        print(f"{NAMES[kind]}: error of the learnt force, as a share of it, and root mean square miss of the positions")
        for where, span in (("training", f"up to {end:g}"), ("beyond", f"{end:g} to {2 * end:g}")):
            physics, hybrid = (figures[f"{kind}, {name}, {where}"] for name in ("physics", "hybrid"))
            force = 100 * figures[f"{kind}, {where}"]
            print(f"  {span:<12} {force:5.1f} %   physics alone {physics:.1e}   with the force {hybrid:.1e}")
        figures.update({f"{kind}, {name}": value for name, value in read_force(kind, found).items()})
        draw_row(kind, found, row)
    figure.savefig(out / "11_hidden_force.png", dpi=120)
    plt.close(figure)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    main(parser.parse_args().out)
