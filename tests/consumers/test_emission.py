"""From drawn rows to coreset messages."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.loop import Loop, blobs, example, settings

from consumers.codecs import codec_for
from consumers.emission import place
from consumers.transform import InputRecord
from stream_coreset.prediction import Prediction


@given(st.lists(st.lists(st.booleans(), max_size=4), min_size=1, max_size=6), st.randoms())
def test_rows_of_the_window_find_their_message(messages, random):
    items = [_decoded([int(ok) for ok in rows]) for rows in messages]
    usable = [(i, int(row)) for i, item in enumerate(items) for row in item.valid_rows]
    indices = np.array([random.randrange(len(usable)) for _ in range(5)] if usable else [], np.int64)
    found = list(zip(*(column.tolist() for column in place(items, indices)), strict=True))
    assert found == [usable[index] for index in indices]


def _decoded(usable: list[int]):
    import io

    import pyarrow as pa

    rows = [[1.0, 2.0] if ok else [float("nan"), 0.0] for ok in usable]
    table = pa.table({"embedding": pa.array(rows, pa.list_(pa.float32(), 2))})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    codec = codec_for(settings(input={"format": "arrow"}).input)
    return codec.decode(InputRecord("in", 0, 0, None, sink.getvalue()))


def test_headers_say_why():
    loop = Loop(settings())
    for seed in range(3):
        loop.feed([example(x) for x in blobs(200, seed)])
    last = loop.ledger()[-1]
    told = [dict(output.headers) for output in loop.of("coreset")][-last.emitted :]
    assert sorted(int(one["coreset-rank"]) for one in told) == list(range(last.emitted))
    assert {one["coreset-window"].decode() for one in told} == {last.window}
    published = set(loop.publication.clusters.ids.tolist())
    assert {one["coreset-cluster"].decode() for one in told} <= {"-", *map(str, published)}
    weights = sum(float(one["coreset-weight"]) for one in told)
    assert np.isclose(weights, last.weight_sum)
    for one in told:
        assert float(one["coreset-weight"]) == 1.0 / float(one["coreset-probability"])
        assert "distance" in one["coreset-why"].decode()


def test_headers_tell_what_was_predicted(monkeypatch):
    loop = Loop(settings())
    loop.feed([example(x) for x in blobs(200, 0)])
    before = len(loop.of("coreset"))
    losses = lambda X, adapted: Prediction(np.full(len(X), 2.5), np.full(len(X), 3.0))  # noqa: E731
    monkeypatch.setattr(loop.sampler._predictor, "predict", losses)
    loop.feed([example(x) for x in blobs(200, 1)])
    told = [dict(output.headers)["coreset-why"].decode() for output in loop.of("coreset")]
    assert before
    assert all(" predicted=- " in why for why in told[:before])
    assert told[before:]
    assert all(" predicted=2.5 " in why for why in told[before:])


def test_independent_draws_are_emitted_as_often_as_drawn():
    loop = Loop(settings(sampling={"design": "iid", "rate": 1.0}))
    loop.feed([example(x) for x in blobs(50)])
    sources = [dict(output.headers)["coreset-source"] for output in loop.of("coreset")]
    assert len(sources) == loop.ledger()[0].emitted == 50
    assert len(set(sources)) < 50
