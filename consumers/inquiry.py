"""Which losses are asked of the model, and of which examples: probes in, answers into the cluster model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from consumers.codecs import codec_for
from consumers.learner import Labels
from consumers.records import Probe, Statistics
from consumers.refresher import Question, Refresher
from consumers.settings import Settings
from stream_coreset.arrays import random_stream
from stream_coreset.probes import ProbePool
from stream_coreset.stream import ClusterModel

__all__ = ["Inquiry"]

Example = tuple[bytes, NDArray[np.float32]]

_TINY = 1e-9
POOL_BYTES = 64_000_000  # of examples that wait to be asked about


class Inquiry:
    """The clusterer's side of the model endpoint.

    Attributes
    ----------
    loss_change : float
        Mean log ratio of the center losses that were answered last to those of before, under the same model;
        NaN where none was asked twice.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    refresher : Refresher, optional
        Who asks; without one nothing is asked or wanted.
    """

    def __init__(self, settings: Settings, refresher: Refresher | None) -> None:
        self._settings = settings
        self._refresher = refresher
        self._codec = codec_for(settings.input)
        self._refresh_at = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the probes, and whatever is being answered: it was asked for another model."""
        rng = random_stream(self._settings.name, "pool", time.time_ns())
        self._pool: ProbePool[Example] = ProbePool(self._settings.sampling.probes - 1, rng)
        self._pooled: dict[int, int] = {}  # bytes by center
        self._refused: dict[int, float] = {}
        self._changed_at = float("-inf")
        self.loss_change = float("nan")
        if self._refresher is not None:
            self._refresher.forget()

    @property
    def answered(self) -> bool:
        """Whether the model has answered something that is not noted yet."""
        return self._refresher is not None and self._refresher.answered

    def keep(self, centers: Iterable[int]) -> None:
        """Keep the probes of these centers; others are gone, or have moved away from theirs."""
        kept = set(centers)
        self._pool.forget(kept)
        self._pooled = {center: nbytes for center, nbytes in self._pooled.items() if center in kept}

    def add(self, statistics: Statistics, owners: NDArray[np.int64]) -> None:
        """Give each probe to the center that its sampler's center fell to: `owners`, by point.

        While the model is slow to answer they wait; when `POOL_BYTES` of them do, more are left out.
        """
        held = sum(self._pooled.values())
        for probes in _by_window(statistics.probes):
            first, *members = probes
            examples = [self._example(probe) for probe in probes]
            if not first.is_nearest or None in examples:
                continue  # without its nearest example a center could not be asked
            center = int(owners[first.point])
            nbytes = sum(len(probe.example) for probe in probes)
            held += nbytes
            if held > POOL_BYTES:
                break
            self._pooled[center] = self._pooled.get(center, 0) + nbytes
            nearest, *sampled = [example for example in examples if example is not None]
            self._pool.add(
                center,
                nearest=nearest,
                distance=first.distance,
                members=sampled,
                member_count=max(int(first.member_count), len(members)),
            )

    def note_answers(self, model: ClusterModel) -> list[Labels]:
        """Note what the model has answered, and return it; a loss that was refused is NaN and left out."""
        found, changes = list[Labels](), list[float]()
        for answers in self._refresher.answers() if self._refresher else ():
            for question, losses in zip(answers.questions, answers.losses, strict=True):
                if np.isnan(losses[0]):  # others must not wait behind a center that cannot be answered
                    self._refused[question.center_id] = time.monotonic()
                    continue
                before = model.book.loss(question.center_id, question.generation, answers.model_version)
                changes += [] if before is None else [float(np.log((losses[0] + _TINY) / (before + _TINY)))]
                model.record(
                    question.center_id,
                    question.generation,
                    losses[~np.isnan(losses)],
                    model_version=answers.model_version,
                    now=time.monotonic(),
                )
                found.append(_labels(question, losses, answers.model_version, model.masses))
        self.loss_change = float(np.mean(changes)) if changes else float("nan")
        return found

    def ask_again(self) -> None:
        """Ask every loss again that was asked before now: the stream has changed."""
        self._changed_at = time.monotonic()

    def ask(self, model: ClusterModel) -> None:
        """Ask for the losses that are due and whose probes are here."""
        now, endpoint = time.monotonic(), self._settings.endpoint
        if self._refresher is None or not self._refresher.idle or now < self._refresh_at:
            return
        here = {center for center in self._askable(model) if center in self._pool}
        due = model.due(endpoint.queries_per_refresh, now, self._max_age(now), among=here)
        if due:
            self._refresh_at = now + endpoint.refresh_seconds
            generations = model.generations
            self._refresher.ask([self._question(center, generations[center]) for center in due])

    def wanted(self, model: ClusterModel) -> NDArray[np.int64]:
        """Centers whose probes samplers should send: due within two refreshes, and not here yet."""
        if self._refresher is None:
            return np.zeros(0, np.int64)
        now, endpoint = time.monotonic(), self._settings.endpoint
        missing = {center for center in self._askable(model) if center not in self._pool}
        due = model.due(2 * endpoint.queries_per_refresh, now, self._max_age(now), among=missing)
        return np.array(due, np.int64)

    def _max_age(self, now: float) -> float:
        return min(self._settings.endpoint.max_age_seconds, now - self._changed_at)

    def _askable(self, model: ClusterModel) -> Iterator[int]:
        """Centers that were not refused lately."""
        before = time.monotonic() - self._settings.endpoint.max_age_seconds
        self._refused = {center: at for center, at in self._refused.items() if at > before}
        return (center for center in model.generations if center not in self._refused)

    def _example(self, probe: Probe) -> Example | None:
        embedding = self._codec.embedding(probe.example)
        return None if embedding is None else (probe.example, embedding)

    def _question(self, center: int, generation: int) -> Question:
        found = self._pool.take(center)
        self._pooled.pop(center, None)
        if found is None or found.nearest is None:
            raise LookupError(f"no probes of center {center}")
        probes = (found.nearest, *found.members)
        examples = tuple(example for example, _ in probes)
        return Question(center, generation, examples, np.stack([embedding for _, embedding in probes]))


def _labels(
    question: Question, losses: NDArray[np.float64], version: str, masses: Mapping[int, float]
) -> Labels:
    """The probes as labelled examples: the nearest stands for itself, the others for their whole cluster."""
    known = ~np.isnan(losses)
    members = max(1, int(known.sum()) - 1)
    weights = np.full(len(losses), masses.get(question.center_id, 0.0) / members)
    weights[0] = 1.0
    return Labels(question.embeddings[known], losses[known], weights[known], version)


def _by_window(probes: Sequence[Probe]) -> Iterator[list[Probe]]:
    """Cut into the probes of one point in one window: each begins with its nearest member."""
    run: list[Probe] = []
    for probe in probes:
        if run and (probe.is_nearest or probe.point != run[0].point):
            yield run
            run = []
        run.append(probe)
    if run:
        yield run
