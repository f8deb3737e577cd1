"""Positions of bodies from an archive of JPL Horizons vectors (NPZ) to a file that physode fits.

The archive holds, for each body, `NAME_jd` (n,), Julian dates in TDB, and `NAME` (n, 6), barycentric positions and
velocities in AU and AU/day, as `numpy.savez` writes them. Bodies may have different epochs: the file gets all of them,
with NaN where a body has none. Velocities are left out: a fit finds them.

    python examples/convert_horizons.py barystate.npz planets.h5 --from 2451520.5 --years 48
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from physode.datasets import Trajectories, check_bodies, write_trajectories
from physode.rhs import body_columns

BODIES = ("Sun", "Jupiter", "Saturn", "Uranus", "Neptune")
DAYS = 365.25  # of a Julian year
GAUSS = 0.01720209895  # its square is the Sun's G m in AU^3 / d^2


def read_archive(path, bodies):
    """Return Julian dates, (n,), and positions, (n, 3), by body."""
    with np.load(path, allow_pickle=False) as archive:
        lacking = [name for body in bodies for name in (f"{body}_jd", body) if name not in archive]
        if lacking:
            raise SystemExit(f"{path} holds no {', '.join(lacking)}; it has {', '.join(sorted(archive))}")
        return {body: (archive[f"{body}_jd"], archive[body][:, :3]) for body in bodies}


def join(tables, *, start, years):
    """Put bodies side by side at all their epochs from `start` on; times in years since the first of them."""
    inside = {body: (jd >= start) & (jd <= start + years * DAYS) for body, (jd, _) in tables.items()}
    epochs = np.unique(np.concatenate([jd[inside[body]] for body, (jd, _) in tables.items()]))
    if len(epochs) < 2:
        raise SystemExit(f"the archive has {len(epochs)} epochs in {years:g} years from {start}; choose another span")
    y = np.full((1, len(epochs), 6 * len(tables)), np.nan)
    for index, (body, (jd, positions)) in enumerate(tables.items()):
        rows = np.searchsorted(epochs, jd[inside[body]])
        y[0, rows, 3 * index : 3 * index + 3] = positions[inside[body]]
    trajectories = Trajectories(
        t=(epochs - epochs[0]) / DAYS,
        y=y,
        columns=body_columns(len(tables)),
        units=("AU",) * (3 * len(tables)) + ("AU/yr",) * (3 * len(tables)),
        attrs={
            "system": "n_body",
            "rhs": {"G": GAUSS**2 * DAYS**2, "velocity_scale": 1.0, "softening": 0.0},
            "time_unit": "yr",
            "bodies": list(tables),
            "epoch": float(epochs[0]),
            "time_scale": "TDB",
        },
    )
    check_bodies(trajectories)
    return trajectories


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--bodies", nargs="+", default=BODIES, help="the Sun first (the Sun and the giant planets)")
    parser.add_argument("--from", dest="start", type=float, default=2451520.5, help="Julian date (%(default)s)")
    parser.add_argument("--years", type=float, default=48.0, help="span (%(default)s)")
    given = parser.parse_args()
    joined = join(read_archive(given.archive, given.bodies), start=given.start, years=given.years)
    write_trajectories(given.file, joined)
    print(f"{given.file}: {', '.join(given.bodies)} at {len(joined.t)} times over {joined.t[-1]:.1f} years")
