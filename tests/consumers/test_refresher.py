"""The refresher: one refresh at a time, failures leave it ready for the next."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from consumers.endpoint import EndpointError
from consumers.refresher import Question, Refresher


def _question(center: int, n: int) -> Question:
    return Question(center, 0, tuple(b"%d" % i for i in range(n)), np.zeros((n, 2), np.float32))


class Model:
    def __init__(self) -> None:
        self.go, self.fails = threading.Event(), False

    def losses(self, examples, embeddings):
        self.go.wait(10)
        if self.fails:
            raise EndpointError("timeout", "too slow")
        return np.array([float(example) for example in examples]), "v"


@pytest.fixture
def model():
    return Model()


def _wait(refresher: Refresher) -> None:
    for _ in range(1000):
        if refresher.idle:
            return
        threading.Event().wait(0.005)
    pytest.fail("never idle")


def test_losses_are_sorted_to_their_questions(model):
    refresher = Refresher(model)
    refresher.ask([_question(7, 3), _question(9, 1)])
    assert not refresher.idle
    assert refresher.answers() == []
    model.go.set()
    _wait(refresher)
    (answers,) = refresher.answers()
    assert [question.center_id for question in answers.questions] == [7, 9]
    assert [losses.tolist() for losses in answers.losses] == [[0.0, 1.0, 2.0], [0.0]]
    assert answers.model_version == "v"
    assert not refresher.answered


def test_a_failure_is_forgotten(model):
    refresher = Refresher(model)
    model.fails = True
    model.go.set()
    refresher.ask([_question(1, 1)])
    _wait(refresher)
    assert refresher.answers() == []
    model.fails = False
    refresher.ask([_question(1, 1)])
    _wait(refresher)
    assert len(refresher.answers()) == 1


def test_an_unexpected_error_does_not_end_the_refreshes(model):
    refresher = Refresher(model)
    model.go.set()
    refresher.ask([Question(1, 0, (b"not a number",), np.zeros((1, 2), np.float32))])
    _wait(refresher)
    refresher.ask([_question(1, 1)])
    _wait(refresher)
    assert len(refresher.answers()) == 1


def test_what_was_asked_before_it_was_told_to_forget_is_dropped(model):
    refresher = Refresher(model)
    refresher.ask([_question(1, 1)])
    threading.Event().wait(0.05)
    refresher.forget()
    model.go.set()
    _wait(refresher)
    assert not refresher.answered
