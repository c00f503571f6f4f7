"""How fast the service goes on when a process ends, joins or leaves, on Apache Kafka on this machine.

Two samplers on four partitions, two clusterers, each a process of the command with the default time limits; a
producer writes 2,000 examples a second all the while. Times run from the signal, or from the start of the
process, to what a reader with read_committed sees next: a window of the partitions concerned, or a version of
the clusters. A *gap* is the longest time without a new window of anybody while a sampler joins or leaves, its
usual value that of five quiet seconds. The broker delays the first assignment of an empty group by
3 s, as Kafka does by default.
"""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from benchmarks.failover.stage import Load, Process, Stage
from benchmarks.failover.witness import Witness
from benchmarks.report import Goal, arguments, publish
from consumers.broker import Broker

RESTART_GOAL = 10.0
QUIET_SECONDS, AFTER_SECONDS = 5.0, 3.0
OF_B = frozenset({2, 3})  # by range, the second of two samplers has these
Times = dict[str, list[float]]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    times: Times = defaultdict(list)
    delay = {"group.initial.rebalance.delay.ms": "3000"}
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(progress=print, options=delay))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = stack.enter_context(Stage(broker.bootstrap_servers, folder))
        witness = stack.enter_context(Witness(stage.settings))
        _begin(stage)
        stack.enter_context(Load(stage.settings))
        for number in range(1 if given.quick else given.rounds):
            _round(stage, witness, times)
            print(f"round {number + 1} is done")
    _print(times)
    worst = max(times["restart of a sampler alone"])
    goals = [Goal("restart to first committed window, worst (s)", RESTART_GOAL, worst, at_least=False)]
    publish({"seconds": times}, goals, given.json)


def _begin(stage: Stage) -> None:
    for process in (stage.a, stage.b, *stage.clusterers):
        process.start()
    stage.settle("sampler", 2)
    stage.settle("clusterer", 2)


def _round(stage: Stage, witness: Witness, times: Times) -> None:
    witness.version(time.time())
    witness.window(time.time(), lambda found: found <= OF_B)
    now = time.time()
    times["gap: nothing happens"].append(witness.gap(now, now + QUIET_SECONDS))
    _samplers(stage, witness, times)
    _clusterers(stage, witness, times)
    _alone(stage, witness, times)


def _samplers(stage: Stage, witness: Witness, times: Times) -> None:
    began, ended = stage.b.end(signal.SIGTERM)
    took_over = witness.window(ended, lambda found: bool(found & OF_B)).at
    times["sampler: SIGTERM, the other takes over"].append(took_over - began)
    times["gap: a sampler leaves (SIGTERM)"].append(witness.gap(began, took_over + AFTER_SECONDS))
    _join(stage, witness, times)
    began, ended = stage.b.end(signal.SIGKILL)
    stage.b.start()
    times["sampler: SIGKILL and restart"].append(_of_b(witness, ended) - began)
    stage.settle("sampler", 2)
    began, ended = stage.b.end(signal.SIGKILL)
    times["sampler: SIGKILL, the other takes over"].append(_of_b(witness, ended) - began)
    stage.settle("sampler", 1)
    _join(stage, witness, times)


def _of_b(witness: Witness, since: float) -> float:
    return witness.window(since, lambda found: bool(found & OF_B)).at


def _join(stage: Stage, witness: Witness, times: Times) -> None:
    began = stage.b.start()
    stage.settle("sampler", 2)  # before that, windows of these partitions may be of the other
    joined = witness.window(time.time(), lambda found: found <= OF_B).at
    times["sampler: joins, from its start"].append(joined - began)
    times["gap: a sampler joins"].append(witness.gap(began, joined + AFTER_SECONDS))


def _clusterers(stage: Stage, witness: Witness, times: Times) -> None:
    for number, name in ((signal.SIGKILL, "SIGKILL"), (signal.SIGTERM, "SIGTERM")):
        active = stage.active()
        began, ended = active.end(number)
        times[f"clusterer: {name}, the standby takes over"].append(witness.version(ended).at - began)
        active.start()
        stage.settle("clusterer", 2)
        witness.version(time.time())


def _alone(stage: Stage, witness: Witness, times: Times) -> None:
    """A deployment of one sampler, restarted."""
    _stop(stage.b)
    stage.settle("sampler", 1)
    _stop(stage.a)
    began = stage.a.start()
    times["restart of a sampler alone"].append(witness.window(began).at - began)
    stage.b.start()
    stage.settle("sampler", 2)


def _stop(process: Process) -> None:
    process.end(signal.SIGTERM)


def _print(times: Times) -> None:
    print(f"\n{'':46}{'median s':>10}{'worst s':>10}{'times':>7}")
    for name in sorted(times):
        found = times[name]
        print(f"{name:46}{statistics.median(found):10.2f}{max(found):10.2f}{len(found):7}")


if __name__ == "__main__":
    main()
