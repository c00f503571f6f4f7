"""How soon abrupt changes of a stream are noticed, and how often nothing is taken for one.

Windows go through the service's own two halves; its alarm (`stream_coreset.drift`) hears what the clusterer
hears. Beside it, what one would try first: River's ADWIN and PageHinkley on the logarithm of the mean squared
distance. A change is found if an alarm comes in its window or the three after it; every alarm at another time
is false. Of a burst (anomalies for four windows) either may be right: it is counted apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift

from benchmarks.report import Goal, arguments, publish
from stream_coreset.drift import Alarm, ChangeDetector
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import ClusterModel, WindowSampler

WINDOWS, SIZE, DIMENSION, CLUSTERS, K = 120, 2048, 16, 40, 64
CHANGES, BURST, SOON = (50, 90), 50, 4
KINDS = ("steady", "wandering", "periodic", "jump", "new shares", "burst")


def windows(kind: str, seed: int) -> Iterator[NDArray[np.float64]]:
    """Clusters with shares ~ rank^-1.1 and 1 % of heavy-tailed outliers; a jump moves eight of forty."""
    rng = np.random.default_rng(seed)
    means, shares = rng.normal(0, 5, (CLUSTERS, DIMENSION)), np.arange(1.0, CLUSTERS + 1) ** -1.1
    for window in range(WINDOWS):
        if kind == "wandering":
            means = means + 0.35 * rng.normal(size=means.shape)
        if kind == "jump" and window in CHANGES:
            means[rng.choice(CLUSTERS, 8, replace=False)] = rng.normal(0, 8, (8, DIMENSION))
        if kind in ("jump", "new shares") and window in CHANGES:
            shares = rng.permutation(shares)
        swing = 3 * np.sin(2 * np.pi * window / 24) if kind == "periodic" else 0.0
        labels = rng.choice(CLUSTERS, SIZE, p=shares / shares.sum())
        X = means[labels] + swing + rng.normal(size=(SIZE, DIMENSION))
        far = rng.random(SIZE) < 0.01
        X[far] += 5 * rng.standard_t(2, (far.sum(), DIMENSION))
        if kind == "burst" and BURST <= window < BURST + 4:
            struck = rng.random(SIZE) < 0.03
            X[struck] = 15 + rng.normal(size=(struck.sum(), DIMENSION))
        yield X


def alarms(kind: str, seed: int) -> dict[str, list[int]]:
    """Windows in which each detector rings."""
    sampler = WindowSampler(SensitivitySampler(rate=0.02), n_clusters=K, dimension=DIMENSION)
    model = ClusterModel(n_clusters=K, dimension=DIMENSION, half_life=20_000, seed=seed)
    alarm, plain, adaptive = Alarm(), ChangeDetector("both"), drift.ADWIN(clock=1, grace_period=5)
    rng = np.random.default_rng(seed)
    rung: dict[str, list[int]] = {"ours": [], "PageHinkley on the mean": [], "ADWIN on the mean": []}
    for number, X in enumerate(windows(kind, seed)):
        points = sampler.adapt(X, rng).statistics
        if model.k:
            squares = model.squares(points)
            mean = float(np.log(np.average(squares, weights=points.counts)))
            adaptive.update(mean)
            rings = (alarm.places(squares, points.counts), plain.update(mean), adaptive.drift_detected)
            for name, rings_now in zip(rung, rings, strict=True):
                rung[name] += [number] if rings_now else []
        model.merge(points)
        sampler.update(model.publish(float(number)))
    return rung


def judged(kind: str, found: list[list[int]]) -> dict[str, Any]:
    """Changes found, the delay, and false alarms per thousand windows."""
    changes = CHANGES if kind in ("jump", "new shares") else (BURST,) if kind == "burst" else ()
    delays = [
        min((at - change for at in one if 0 <= at - change < SOON), default=None)
        for one in found
        for change in changes
    ]
    near = [at for one in found for at in one if any(0 <= at - change < SOON for change in changes)]
    false = sum(map(len, found)) - len(near)
    return {
        "changes": len(delays),
        "found": sum(delay is not None for delay in delays),
        "worst_delay_windows": max((delay for delay in delays if delay is not None), default=None),
        "false_per_1000_windows": round(1000 * false / (WINDOWS * len(found)), 2),
    }


def main() -> None:
    given = arguments(__doc__ or "").parse_args()
    seeds = range(2 if given.quick else 10)
    table: dict[str, dict[str, Any]] = {}
    print(f"{'stream':12}{'detector':26}{'found':>8}{'delay':>8}{'false / 1000':>14}")
    for kind in KINDS:
        runs = [alarms(kind, seed) for seed in seeds]
        table[kind] = {name: judged(kind, [run[name] for run in runs]) for name in runs[0]}
        for name, row in table[kind].items():
            found = f"{row['found']}/{row['changes']}"
            late = "" if row["worst_delay_windows"] is None else row["worst_delay_windows"]
            print(f"{kind:12}{name:26}{found:>8}{late:>8}{row['false_per_1000_windows']:14.2f}")
    quiet = [table[kind]["ours"]["false_per_1000_windows"] for kind in ("steady", "wandering")]
    jumps = table["jump"]["ours"]
    goals = [
        Goal(
            "false alarms per 1000 windows of a steady or wandering stream", 1.0, max(quiet), at_least=False
        ),
        Goal("share of jumps found within four windows", 0.6, jumps["found"] / jumps["changes"]),
    ]
    publish({"windows": WINDOWS, "seeds": len(seeds), "streams": table}, goals, given.json)


if __name__ == "__main__":
    main()
