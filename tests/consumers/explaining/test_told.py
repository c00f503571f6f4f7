from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from consumers import ipc
from consumers.codecs import SampleColumns, codec_for
from consumers.explaining.told import read_told, texts_of
from consumers.settings import Input
from consumers.transform import InputRecord


def emitted(given: Input, value: bytes, rows: list[int]) -> list[InputRecord]:
    """Coreset messages as the service makes them."""
    record = InputRecord("raw", 0, 101, b"key", value, (("mine", b"x"),), 5)
    codec = codec_for(given)
    numbers = np.linspace(0.1, 0.5, len(rows))
    columns = SampleColumns(
        window="raw/0/100", clusters=6, weights=1 / numbers, probabilities=numbers,
        ranks=np.arange(len(rows)), cluster_ids=np.full(len(rows), 8), distances=numbers,
        center_losses=numbers + 1, spreads=np.full(len(rows), np.nan), loss_ages=numbers + 3,
        predictions=numbers + 4, scores=numbers / 10,
    )  # fmt: skip
    parts = codec.emit(codec.decode(record), np.array(rows), columns, 100_000)
    return [InputRecord("coreset", 0, i, b"key", part.value, part.headers, 5) for i, part in enumerate(parts)]


def test_json_messages_tell_what_was_said_of_them():
    given = Input(dimension=2)
    (record,) = emitted(given, b'{"embedding": [1, 2]}', [0])
    (told,) = map(read_told, texts_of(record, given))
    assert (told.source, told.window, told.cluster, told.clusters) == ("raw/0/101", "raw/0/100", "8", 6)
    assert (told.weight, told.probability, told.rank) == (10.0, 0.1, 0)
    assert (told.distance, told.center_loss, told.spread, told.loss_age) == (0.1, 1.1, None, 3.1)
    assert told.score == pytest.approx(0.01)
    assert told.predicted == 4.1


def test_arrow_messages_tell_it_of_each_row():
    given = Input(dimension=2, format="arrow")
    table = pa.table({"embedding": pa.array([[1.0, 2.0]] * 9, pa.list_(pa.float32()))})
    (record,) = emitted(given, ipc.write_stream(table), [2, 7])
    told = [read_told(texts) for texts in texts_of(record, given)]
    assert [one.source for one in told] == ["raw/0/101/2", "raw/0/101/7"]
    assert [one.distance for one in told] == [0.1, 0.5]


@pytest.mark.parametrize(
    "bad", [{"why": "distance=5"}, {"why": "nothing"}, {"weight": "heavy"}, {"rank": "first"}]
)
def test_what_is_not_ours_is_refused(make_texts, bad):
    assert read_told(make_texts())
    with pytest.raises(ValueError, match="not an example of the coreset"):
        read_told({**make_texts(), **bad})


def test_bytes_that_are_no_arrow_are_refused():
    with pytest.raises(ValueError, match="stream"):
        texts_of(InputRecord("coreset", 0, 0, None, b"nonsense"), Input(dimension=2, format="arrow"))
