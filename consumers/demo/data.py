"""Telemetry of the space shuttle as a stream: 49,097 events of nine sensors, 7 % of them anomalies.

The data set Statlog (Shuttle) of the UCI repository, cast as anomaly detection; it comes with river.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

__all__ = ["DIMENSION", "Events", "decode_examples", "encode_example", "load_shuttle", "signed_log"]

DIMENSION = 9
_SCALED_BY = 1_000  # the first events of the stream, from which the scale of the sensors is taken


@dataclass(frozen=True)
class Events:
    """The stream, in its order.

    Attributes
    ----------
    embeddings : (n, 9) float32
    labels : (n,) int64
        1 for an anomaly.
    """

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def messages(self) -> Iterable[bytes]:
        """Return each event as the JSON object that is sent."""
        for i, (embedding, label) in enumerate(zip(self.embeddings, self.labels.tolist(), strict=True)):
            yield encode_example(i, embedding, label)


def encode_example(number: int, embedding: NDArray[np.float32], label: int) -> bytes:
    """Return an event as JSON.

    Examples
    --------
    >>> encode_example(3, np.array([0.5, -1], np.float32), 1)
    b'{"event":3,"embedding":[0.5,-1.0],"anomaly":1}'
    """
    event = {"event": number, "embedding": embedding, "anomaly": label}
    return orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY)


def decode_examples(values: Iterable[bytes]) -> Events:
    """Read events back, as a trainer does.

    Examples
    --------
    >>> decode_examples([encode_example(3, np.arange(9, dtype=np.float32), 1)]).labels
    array([1])
    """
    events = [orjson.loads(value) for value in values]
    embeddings = np.array([event["embedding"] for event in events], np.float32).reshape(-1, DIMENSION)
    return Events(embeddings, np.array([event["anomaly"] for event in events], np.int64))


def load_shuttle() -> Events:
    """Load all events; the sensors as signed logarithms, scaled by what the first thousand events show."""
    from river.datasets import Shuttle  # noqa: PLC0415 - an extra, needed only here

    rows, labels = zip(*Shuttle(), strict=True)
    raw = np.array([list(row.values()) for row in rows], np.float64)
    logs = signed_log(raw - np.median(raw[:_SCALED_BY], axis=0))
    seen = logs[:_SCALED_BY]
    scaled = (logs - seen.mean(axis=0)) / seen.std(axis=0)
    return Events(scaled.astype(np.float32), np.array(labels, np.int64))


def signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """sign(v) log(1 + |v|): the sensors span four orders of magnitude on both sides of their medians.

    Examples
    --------
    >>> signed_log(np.array([0.0, np.e - 1, 1 - np.e]))
    array([ 0.,  1., -1.])
    """
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
