"""Asks the model for losses on a thread of its own, so that a slow endpoint holds nothing else back."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from consumers.endpoint import EndpointError

__all__ = ["Answers", "LossEndpoint", "Question", "Refresher"]

log = structlog.get_logger(__name__)


class LossEndpoint(Protocol):
    """Who is asked; `consumers.endpoint.ModelEndpoint` in the service."""

    def losses(
        self, examples: Sequence[bytes], embeddings: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], str]:
        """The losses (n,) of n examples, and the version of the model that gave them."""


@dataclass(frozen=True, eq=False)
class Question:
    """The probes of one center: the example nearest to it first, then uniform members."""

    center_id: int
    generation: int
    examples: tuple[bytes, ...]
    embeddings: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answers:
    """The losses of several questions, in their order, all from one version of the model."""

    questions: tuple[Question, ...]
    losses: tuple[NDArray[np.float64], ...]
    model_version: str


class Refresher:
    """One refresh at a time: `ask` when idle, `answers` when it is done.

    A refresh that fails is logged and forgotten: its losses stay due, and those known stay in use.
    """

    def __init__(self, endpoint: LossEndpoint) -> None:
        self._endpoint = endpoint
        self._questions: queue.Queue[tuple[Question, ...]] = queue.Queue(maxsize=1)
        self._answers: queue.Queue[Answers] = queue.Queue()
        self._idle = threading.Event()
        self._idle.set()
        self._epoch = 0
        threading.Thread(target=self._work, name="refresher", daemon=True).start()

    @property
    def idle(self) -> bool:
        """Whether nothing is being asked."""
        return self._idle.is_set()

    @property
    def answered(self) -> bool:
        """Whether there are answers to take."""
        return not self._answers.empty()

    def ask(self, questions: Sequence[Question]) -> None:
        """Begin to ask; only when idle."""
        self._idle.clear()
        self._questions.put(tuple(questions))

    def answers(self) -> list[Answers]:
        """What has been answered since the last call."""
        found = []
        while self.answered:
            found.append(self._answers.get())
        return found

    def forget(self) -> None:
        """Drop answers that are not taken, and the one that is on its way."""
        self._epoch += 1
        self.answers()

    def _work(self) -> None:
        while True:
            questions = self._questions.get()
            epoch = self._epoch
            try:
                answers = self._asked(questions)
                if epoch == self._epoch:
                    self._answers.put(answers)
            except EndpointError as error:
                log.warning("no losses from the model endpoint; those known stay in use", reason=str(error))
            except (
                Exception
            ):  # a mistake of ours must not end the refreshes of a service that runs for months
                log.exception("asking the model endpoint failed; losses known stay in use")
            finally:
                self._idle.set()

    def _asked(self, questions: tuple[Question, ...]) -> Answers:
        examples = [example for question in questions for example in question.examples]
        embeddings = np.concatenate([question.embeddings for question in questions])
        losses, version = self._endpoint.losses(examples, embeddings)
        ends = np.cumsum([len(question.examples) for question in questions])[:-1]
        return Answers(questions, tuple(np.split(losses, ends)), version)
