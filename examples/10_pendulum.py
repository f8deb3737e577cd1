"""A pendulum on film: g / L and damping from the angle that a camera saw.
=======================================================================

The recording is one run of 95 units of time, six pictures a unit (M. Schmidt and H. Lipson, *Distilling free-form
natural laws from experimental data*, Science 324, 2009). A look at it before the fit:

- Unit: the file names none. With g = 9.81 m/s^2 the pendulum would be 7.2 m long if it were a second, and 0.29 m if it
  were a fifth of one, 30 pictures a second. Only g / L per unit squared is measured.
- Gaps: of the largest swings some turning points are missing, as if the bob had left the picture. The times are
  irregular, then, which is nothing to a fit.
- Wrapping: swings stay below 85 degrees. Outliers: the largest residual is three times their root mean square, so that
  plain least squares will do.
- Zero: the residuals' mean is 0.7 degrees. The camera was tilted; the fit is repeated with the angles turned back.

Then the friction. Linear damping takes the same share of every swing; drag by the square of the speed takes a share in
proportion to the swing. So the damping is fitted to each quarter of the recording alone, too: it is the same in all,
while swings shrink by a third. Linear damping it is.

What is left over, 0.6 degrees, is less than a pixel, but no white noise: neighbours go together (correlation 0.75),
which the standard errors know nothing of. They are printed as they are, and multiplied by sqrt((1 + r) / (1 - r)),
which makes up for neighbours' correlation r. ::

    python examples/10_pendulum.py --out .                                        # a simulated stand-in
    python examples/10_pendulum.py --data schmidt_lipson_real.tar.xz --out .      # or the file real_pend_h_1.txt in it
"""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import physode as po
from physode.datasets import Trajectories
from physode.fitting import FitConfig, fit

MEMBER = "real_pend_h_1.txt"
LARGEST = 10_000_000  # bytes of a text that is read
TRUTH = {"ratio": 1.36, "damping": 0.012, "tilt": 0.01}  # of the stand-in


def text_of(path):
    """Return the recording's text, from a file of its own or from an archive, which is not unpacked."""
    if not tarfile.is_tarfile(path):
        size, opened = path.stat().st_size, path.open("rb")
    else:
        with tarfile.open(path) as archive:
            member = next((each for each in archive if each.isfile() and Path(each.name).name == MEMBER), None)
            if member is None:
                raise SystemExit(f"{path} holds no {MEMBER}")
            size, opened = member.size, io.BytesIO(archive.extractfile(member).read(LARGEST))
    with opened:
        if size > LARGEST:
            raise SystemExit(f"{path}: the recording has {size} bytes; at most {LARGEST} are read")
        return opened.read(LARGEST).decode()


def read_recording(path):
    """Return times from 0 and angles: of the rows trial, time, then the columns that the first line names."""
    header, _, body = text_of(path).partition("\n")
    rows = np.loadtxt(io.StringIO(body))
    angle = 2 + header.lstrip("% ").split().index("o")
    rows = rows[rows[:, 0] == rows[0, 0]]  # the first trial
    return rows[:, 1] - rows[0, 1], rows[:, angle]


def simulated(span):
    """Stand-in: pictures of a pendulum from a tilted camera, some of them missing."""
    random = np.random.default_rng(4)
    t = np.arange(0.0, span, 1 / 6)
    t = t[np.sort(random.choice(len(t), len(t) - 12, replace=False))]
    pendulum = po.rhs.Pendulum(1.0, gravity=TRUTH["ratio"], damping=TRUTH["damping"])
    with torch.no_grad():
        y = po.solve(pendulum, torch.tensor([1.1, 0.95], dtype=torch.float64), torch.from_numpy(t)).y
    return t, y[:, 0].numpy() + TRUTH["tilt"] + 0.01 * random.standard_normal(len(t))


def first_guess(t, angle):
    """Return the length that the time between rises through the middle suggests, and a little damping."""
    side = np.sign(angle - angle.mean())
    rises = t[1:][(side[:-1] < 0) & (side[1:] > 0)]
    return {"length": (9.81 * (np.diff(rises).mean() / (2 * np.pi)) ** 2,), "damping": (0.01,)}


def fit_swings(t, angle, init, *, stages=5):
    """Fit length, damping and the unknown start, over growing spans; the angular velocity is observed nowhere."""
    data = Trajectories(
        t=t,
        y=np.stack([angle, np.full(len(t), np.nan)], -1)[None],
        columns=("angle", "angular_velocity"),
        units=("rad", ""),
        attrs={"system": "pendulum", "rhs": {"gravity": 9.81}},
    )
    settings = {"stages": stages, "method": "dopri5", "rtol": 1e-6, "atol": 1e-8, "train_until": t[-1]}
    return fit(data, FitConfig(init=init, fix={"gravity": (9.81,)}, initial_state="fit", **settings))


def measured(found, angle):
    """Return g / L and damping, each with its standard error, the residuals, and their neighbours' correlation."""
    length, damping = found.report.constants
    ratio = 9.81 / length.fitted
    residuals = angle - found.predictions.y[0, :, 0]
    together = float(np.corrcoef(residuals[:-1], residuals[1:])[0, 1])
    return {
        "ratio": (ratio, ratio * length.standard_error / length.fitted),
        "damping": (damping.fitted, damping.standard_error),
        "residuals": residuals,
        "correlation": together,
        "inflation": float(np.sqrt((1 + max(together, 0.0)) / (1 - max(together, 0.0)))),
    }


def fit_quarters(t, angle, init):
    """Return the swings' mean size, the damping and its error, of each quarter of the recording: (4, 3)."""
    found = []
    for rows in np.array_split(np.arange(len(t)), 4):
        part = measured(fit_swings(t[rows] - t[rows[0]], angle[rows], init, stages=1), angle[rows])
        value, error = part["damping"]
        found.append((np.sqrt(2) * angle[rows].std(), value, error * part["inflation"]))
    return np.array(found)


def draw(out, t, angle, fitted, whole, quarters):
    """Draw the swings, what is left over, and the damping by the size of the swings."""
    figure = plt.figure(figsize=(12, 6), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(2, 1))
    top, below, right = (figure.add_subplot(place) for place in (grid[0, 0], grid[1, 0], grid[:, 1]))
    top.plot(t, angle, ".", ms=4, label="seen")
    top.plot(t, fitted, lw=1, label="fitted")
    top.set(ylabel="angle (rad)", title="A pendulum with linear damping")
    top.legend(loc="upper right", ncols=2)
    below.plot(t, whole["residuals"], ".-", ms=3, lw=0.5)
    below.axhline(0, color="k", lw=0.7)
    below.set(xlabel="time (the recording's unit)", ylabel="seen minus fitted (rad)", title="What the fit leaves over")
    size, damping, error = quarters.T
    right.errorbar(size, damping, 1.96 * error, fmt="o", capsize=4, label="each quarter, 95 %")
    sizes, mean = np.linspace(0.9 * size.min(), 1.05 * size.max(), 2), size.mean()
    right.plot(sizes, np.full(2, whole["damping"][0]), color="C1", label="linear damping")
    right.plot(sizes, whole["damping"][0] * sizes / mean, "--", color="0.5", label="drag by the speed's square")
    right.set(xlabel="mean swing (rad)", ylabel="damping (1 / unit of time)", title="Which friction?", ylim=(0, None))
    right.legend(loc="lower right")
    figure.savefig(out / "10_pendulum.png", dpi=120)
    plt.close(figure)


def main(out: Path, *, data: Path | None = None, span: float = 60.0) -> dict[str, float]:
    torch.set_num_threads(1)
    t, seen = simulated(span) if data is None else read_recording(data)
    first = fit_swings(t, seen, first_guess(t, seen))
    tilt = float(np.mean(seen - first.predictions.y[0, :, 0]))
    angle = seen - tilt
    init = {constant.name: (constant.fitted,) for constant in first.report.constants}
    found = fit_swings(t, angle, init)
    whole = measured(found, angle)
    quarters = fit_quarters(t, angle, init)

    scatter, inflation = float(whole["residuals"].std()), whole["inflation"]
    print(f"{len(t)} angles over {t[-1]:.1f} units of time, the camera tilted by {np.rad2deg(tilt):.2f} degrees")
    print(f"residuals: {np.rad2deg(scatter):.2f} degrees, neighbours' correlation {whole['correlation']:.2f}")
    for name, label in (("ratio", "g / L"), ("damping", "damping")):
        value, error = whole[name]
        print(f"{label:<8} {value:.5f} +- {error:.5f}; for correlated residuals +- {error * inflation:.5f}")
    if data is not None:
        length = 9.81 / whole["ratio"][0]
        print(f"L would be {length:.2f} m if the unit were a second, {0.04 * length:.3f} m if a fifth of one")
    for size, value, error in quarters:
        print(f"swings of {size:.2f} rad: damping {value:.4f} +- {error:.4f}")
    draw(out, t, angle, found.predictions.y[0, :, 0], whole, quarters)
    return {
        **{name: whole[name][0] for name in ("ratio", "damping")},
        **{f"{name}, error": whole[name][1] * inflation for name in ("ratio", "damping")},
        "tilt": tilt,
        "residuals": scatter,
        "first quarter": float(quarters[0, 1]),
        "last quarter": float(quarters[-1, 1]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figure")
    parser.add_argument("--data", type=Path, help="the recording or its archive, in place of the stand-in")
    given = parser.parse_args()
    main(given.out, data=given.data)
