"""How true the dry run (`stream-coreset sampler --shadow`) is: what it says beside what the samples then did.

On each stream a dry run goes on until the losses of its uniform examples are known; they are told by a
function, as a model would. What is true is computed from all losses of the windows it judged by: the exact
variance of the draw of each window, relative to that of uniform sampling.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from benchmarks.quality.sets import DataSet
from benchmarks.quality.streams import STREAMS
from benchmarks.report import Goal, arguments, publish
from consumers.settings import Settings, load_settings
from consumers.shadow.report import FEW
from consumers.shadow.run import DryRun
from stream_coreset.design_variance import design_variance
from stream_coreset.estimates import uniform_variance

RATE, SIZE, K, QUERIES = 0.02, 2_048, 64, 96


class Told:
    """The losses of a stream, found by the number that each example carries."""

    def __init__(self, losses: NDArray[np.float64]) -> None:
        self._losses = losses

    def losses(self, examples: Sequence[bytes], embeddings: Any) -> tuple[NDArray[np.float64], str]:
        return self._losses[[orjson.loads(example)["id"] for example in examples]], ""


class Followed(DryRun):
    """A dry run that is told the truth about every window it judges by."""

    def __init__(self, settings: Settings, judged_by: int, losses: NDArray[np.float64]) -> None:
        self.ours = self.uniform = 0.0
        self._losses, self._at = losses, 0
        super().__init__(settings, judged_by, threading.Event(), endpoints=lambda: Told(losses))

    def _judged(self, window: Any, drawn: Any) -> str:
        before = self._evidence.windows
        name = super()._judged(window, drawn)
        n, sample = len(drawn.sample.scores), drawn.sample
        losses, self._at = self._losses[self._at : self._at + n], self._at + n
        if self._evidence.windows > before:
            s = sample.expected_size
            self.ours += design_variance(losses, sample.scores, s, order=sample.order)
            self.uniform += uniform_variance(losses, s)
        return name


def judge(make: Callable[[int, int], Any], windows: int, judged_by: int, surrogate: str) -> dict[str, Any]:
    data: list[DataSet] = list(make(SIZE, windows))
    run = Followed(
        _settings(data[0].X.shape[1], surrogate), judged_by, np.concatenate([d.losses for d in data])
    )
    for number, window in enumerate(data):
        list(run.take([_message(number * SIZE + row, x) for row, x in enumerate(window.X)]))
        if run.done:
            break
    found = run.report().comparisons[0]
    low, high = found.ours.interval
    true = math.sqrt(run.ours / run.uniform)
    return {
        "dry run": found.ours.ratio, "low": low, "high": high, "true": true, "covered": low <= true <= high,
        "deciding": found.ours.deciding, "stratified": found.stratified.ratio,
        "judged by": run.report().judged_examples,
    }  # fmt: skip


def _settings(dimension: int, surrogate: str) -> Settings:
    return load_settings(
        input={"dimension": dimension},
        window={"size": SIZE},
        clustering={"n_clusters": K},
        sampling={"rate": RATE},
        endpoint={"queries_per_refresh": QUERIES},
        learning={"surrogate": surrogate, "time_share": 1.0},
        topics={"retention_hours": 1_000_000},  # messages have no time here
    )


def _message(number: int, x: NDArray[np.float32]) -> ConsumerRecord:
    value = orjson.dumps({"id": number, "embedding": x.tolist()})
    return ConsumerRecord("examples", 0, 0, number, 1, 0, None, value, (), None, -1, len(value), -1)


def main() -> None:
    options = arguments(__doc__.splitlines()[0]).parse_args()
    windows, judged_by = (24, 800) if options.quick else (60, 4_000)
    print(f"rate {RATE:.0%}, windows of {SIZE}, k = {K}, {QUERIES} losses a window; error / uniform's")
    result: dict[str, Any] = {}
    for surrogate in ("none", "trees"):
        for name, make in STREAMS.items():
            row = result[f"{name}, surrogate {surrogate}"] = judge(make, windows, judged_by, surrogate)
            print(
                f"{name:24} surrogate {surrogate:5}  dry run {row['dry run']:.2f} ({row['low']:.2f} to "
                f"{row['high']:.2f})  true {row['true']:.2f}  judged by {row['judged by']:,}, "
                f"{row['deciding']:.0f} decide",
                flush=True,
            )
    judged = [row for row in result.values() if row["deciding"] >= FEW]
    print(f"{len(result) - len(judged)} of {len(result)} are not judged: fewer than {FEW} examples decide")
    logs = [math.log(row["dry run"] / row["true"]) for row in judged]
    print(f"dry run / true, geometric mean: {math.exp(np.mean(logs)):.2f}" if judged else "")
    goals = (
        []
        if not judged
        else [
            Goal("dry run / true, worst (either way)", 1.5, math.exp(max(map(abs, logs))), at_least=False),
            Goal("intervals that cover", 0.85, sum(row["covered"] for row in judged) / len(judged)),
        ]
    )
    publish({"rows": result}, goals, options.json)


if __name__ == "__main__":
    main()
