from __future__ import annotations

import numpy as np
import orjson

from consumers.demo.data import DIMENSION, decode_examples, load_shuttle


def test_the_stream_is_the_one_promised() -> None:
    events = load_shuttle()
    assert len(events) == 49_097
    assert int(events.labels.sum()) == 3_511
    assert events.embeddings.shape == (49_097, DIMENSION)
    assert np.isfinite(events.embeddings).all()


def test_scale_comes_from_the_first_events_only() -> None:
    first = load_shuttle().embeddings[:1_000]
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(first.std(axis=0), 1, atol=1e-5)


def test_events_survive_the_journey() -> None:
    events = load_shuttle()
    messages = [message for message, _ in zip(events.messages(), range(50), strict=False)]
    assert orjson.loads(messages[7])["event"] == 7
    back = decode_examples(messages)
    np.testing.assert_array_equal(back.embeddings, events.embeddings[:50])
    np.testing.assert_array_equal(back.labels, events.labels[:50])


def test_no_events_have_a_shape_all_the_same() -> None:
    assert decode_examples([]).embeddings.shape == (0, DIMENSION)
