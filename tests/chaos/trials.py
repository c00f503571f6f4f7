"""Runs trials on the same brokers, some at the same time."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from chaos.checker.messages import Partition
from chaos.checker.standing import ends, group_offsets
from chaos.stream import Message
from chaos.trial import Trial
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from consumers.settings import load_settings
from consumers.topics import planned

__all__ = ["run"]

_PARTITIONS = 2
_TOGETHER = 8
_TURN_SECONDS = 0.1
_RECORDS_A_VERSION = 3  # at least: a chunk, the head, the marker of the transaction


@dataclass(frozen=True)
class _Half:
    """One half of the messages of a trial has been produced: where the input ends, and what must follow."""

    trial: Trial
    ends: dict[Partition, int]
    versions: int

    def is_done(self, admin: Any) -> bool:
        stream = self.trial.stream
        try:
            offsets = group_offsets(admin, stream.groups[:1])[stream.groups[0]]
        except KafkaError:  # on a new broker, the first group has to wait for its coordinator
            return False
        if any(offsets.get(partition, 0) < end for partition, end in self.ends.items()):
            return False
        if self.trial.until not in self.trial.said():
            return False
        clusters = ends(admin, [stream.topics.clusters]).high if self.versions else {}
        return sum(clusters.values()) >= _RECORDS_A_VERSION * self.versions


def run(trials: Sequence[Trial], seconds: float) -> dict[str, str]:
    """Run them, eight at a time; by the name of a trial, what did not go as it should.

    Parameters
    ----------
    trials : sequence of Trial
    seconds : float
        The most that processing one half of the messages may take.
    """
    wrong: dict[str, str] = {}
    for first in range(0, len(trials), _TOGETHER):
        wrong |= _run_together(trials[first : first + _TOGETHER], seconds)
    return wrong


def _run_together(trials: Sequence[Trial], seconds: float) -> dict[str, str]:
    servers = trials[0].servers
    with closing(KafkaAdminClient(bootstrap_servers=servers)) as admin:
        _make_topics(admin, trials)
        first = _produce(servers, trials, 1)  # before processes start
        for trial in trials:
            trial.start()
        wrong = _wait(admin, first, time.monotonic() + seconds)
        wrong |= _wait(admin, _produce(servers, trials, 2), time.monotonic() + seconds)
    for trial in trials:
        trial.stop()
    codes = {trial.name: trial.join() - {0, -signal.SIGKILL} for trial in trials}
    return wrong | {name: f"a process ended with {odd}" for name, odd in codes.items() if odd}


def _make_topics(admin: Any, trials: Sequence[Trial]) -> None:
    new: dict[str, dict[str, Any]] = {}
    for trial in trials:
        new[trial.stream.topics.input] = {"num_partitions": _PARTITIONS, "replication_factor": 1}
        for plan in planned(load_settings(**trial.settings()), _PARTITIONS):
            partitions = {"num_partitions": plan.partitions, "replication_factor": 1}
            new[plan.name] = {**partitions, "configs": dict(plan.configs)}
    admin.create_topics(new, wait_for_metadata=True)


def _produce(servers: str, trials: Sequence[Trial], half: int) -> list[_Half]:
    """Send the first or the second half of the messages of each."""
    if half == 1:
        for trial in trials:
            _send_in_vain(servers, trial)
    with closing(KafkaProducer(bootstrap_servers=servers, linger_ms=20)) as producer:
        sent = [_send(producer, trial, half) for trial in trials]
        producer.flush(60)
    halves = []
    for trial, futures in zip(trials, sent, strict=True):
        places = [future.get(timeout=1) for future in futures]
        reached = {(one.topic, one.partition): one.offset + 1 for one in places}
        halves.append(_Half(trial, reached, half * trial.clusterer))
    return halves


def _send(producer: Any, trial: Trial, half: int) -> list[Any]:
    middle = len(trial.messages) // 2
    chosen = trial.messages[:middle] if half == 1 else trial.messages[middle:]
    return [_send_one(producer, trial, n, message) for n, message in enumerate(chosen)]


def _send_one(producer: Any, trial: Trial, n: int, message: Message) -> Any:
    topic, headers = trial.stream.topics.input, list(message.headers)
    return producer.send(topic, message.value, message.key, headers, partition=n % _PARTITIONS)


def _send_in_vain(servers: str, trial: Trial) -> None:
    if trial.aborted:
        with closing(KafkaProducer(bootstrap_servers=servers, transactional_id=trial.name)) as producer:
            producer.init_transactions()
            producer.begin_transaction()
            for n, message in enumerate(trial.messages[: trial.aborted]):
                _send_one(producer, trial, n, message)
            producer.flush(30)
            producer.abort_transaction()


def _wait(admin: Any, waiting: Sequence[_Half], deadline: float) -> dict[str, str]:
    trials = [half.trial for half in waiting]
    while waiting and time.monotonic() < deadline:
        time.sleep(_TURN_SECONDS)
        for trial in trials:
            trial.revive()
        waiting = [half for half in waiting if not half.is_done(admin)]
    return {half.trial.name: "not done in time: " + half.trial.said()[-500:] for half in waiting}
