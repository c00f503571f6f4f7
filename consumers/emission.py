"""From a window's draw to coreset messages: where each drawn example came from, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.codecs.examples import Codec, Decoded, SampleColumns
from consumers.records.ledger import source_id
from consumers.transform import Output
from stream_coreset.clusters import Clusters
from stream_coreset.prediction import Prediction
from stream_coreset.sample import Sample
from stream_coreset.stream import AdaptedWindow

__all__ = ["Emitted", "columns_of", "emit", "place"]

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Emitted:
    """The coreset messages of one window, and the source id of each example in them."""

    outputs: list[Output]
    sources: list[str]


def columns_of(
    window: str,
    adapted: AdaptedWindow,
    sample: Sample,
    published: Clusters,
    predicted: Prediction | None = None,
) -> SampleColumns:
    """What is said of each drawn example, in draw order.

    Parameters
    ----------
    window : str
        Window id.
    adapted : AdaptedWindow
        The window, with the clusters as adapted to it.
    sample : Sample
        Its draw.
    published : Clusters
        The version that they were adapted from; a center that is not in it was just placed.
    predicted : Prediction, optional
        What the surrogate predicted of the window.
    """
    clusters = adapted.clusters
    labels = adapted.assignment.labels[sample.indices]
    ids = np.where(np.isin(clusters.ids, published.ids), clusters.ids, -1)
    return SampleColumns(
        window=window,
        clusters=published.version,
        weights=sample.weights,
        probabilities=sample.probabilities,
        ranks=np.arange(len(sample), dtype=np.int64),
        cluster_ids=ids[labels],
        distances=np.asarray(adapted.assignment.distances, np.float64)[sample.indices],
        center_losses=clusters.losses[labels],
        spreads=clusters.spreads[labels],
        loss_ages=clusters.loss_ages[labels],
        predictions=np.full(len(sample), np.nan) if predicted is None else predicted.means[sample.indices],
        scores=sample.scores[sample.indices],
    )


def emit(
    codec: Codec,
    items: Sequence[Decoded],
    indices: Ids,
    columns: SampleColumns,
    *,
    topic: str,
    max_bytes: int,
    many_rows: bool,
) -> Emitted:
    """Make the coreset messages of the drawn examples, message by message of the input.

    Parameters
    ----------
    codec : Codec
        Of the input.
    items : sequence of Decoded
        The window's messages; its usable rows, one message after the other, are what `indices` count.
    indices : (m,) int64
        The drawn rows, duplicates allowed, in the order of `columns`.
    topic, max_bytes
        Where the messages go and how large one may be.
    many_rows : bool
        Whether a message of the input holds many examples, so that a source id needs the row.
    """
    messages, rows = place(items, indices)
    outputs: list[Output] = []
    sources: list[str] = []
    for position in np.unique(messages):
        decoded, record = items[position], items[position].record
        drawn = np.flatnonzero(messages == position)
        parts = codec.emit(decoded, rows[drawn], _part(columns, drawn), max_bytes)
        outputs += [Output(topic, p.value, record.key, p.headers, record.timestamp_ms) for p in parts]
        where = (record.topic, record.partition, record.offset)
        sources += [source_id(*where, int(row) if many_rows else None) for row in rows[drawn]]
    return Emitted(outputs, sources)


def place(items: Sequence[Decoded], indices: Ids) -> tuple[Ids, Ids]:
    """For rows of the window, the position of their message in `items`, and their row in it."""
    ends = np.cumsum([len(item.valid_rows) for item in items])
    messages = np.searchsorted(ends, indices, side="right")
    valid_rows = np.concatenate([np.zeros(0, np.int64), *(item.valid_rows for item in items)])
    return messages, valid_rows[indices]


def _part(columns: SampleColumns, drawn: Ids) -> SampleColumns:
    """The columns of some of the examples."""
    arrays = {f.name: getattr(columns, f.name) for f in fields(columns)}
    chosen: dict[str, Any] = {name: a[drawn] for name, a in arrays.items() if isinstance(a, np.ndarray)}
    return replace(columns, **chosen)
