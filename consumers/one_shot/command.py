"""Reads the file, selects, writes the selection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.errors import ServiceError
from consumers.one_shot.files import Selected, Source
from consumers.one_shot.npy import NpyFile, read_losses
from consumers.one_shot.options import Wanted
from consumers.one_shot.parquet import ParquetFile
from consumers.one_shot.summary import Summary, summarise
from stream_coreset.kernels import nearest
from stream_coreset.selection import Coreset, select

__all__ = ["run"]

_FEW_ROWS, _FEW, _MANY = 6_000, 64, 128  # clusters


def run(wanted: Wanted) -> Summary:
    """Select from a file and write the selection; returns what it came to.

    Raises
    ------
    ServiceError
        For a file, a column, a loss or an option that cannot be used; one sentence.
    """
    try:
        return _run(wanted)
    except (ValueError, RuntimeError) as error:  # of the library: it names the argument, the row, what to do
        raise ServiceError(f"{wanted.file}: {error}.") from error
    except MemoryError as error:
        raise ServiceError(
            f"{wanted.file} does not fit into memory: split it, select from each part."
        ) from error


def _run(wanted: Wanted) -> Summary:
    source = _opened(wanted)
    X = source.points()
    losses = _losses(wanted, source, len(X))
    answer = None if losses is None else losses.take
    usual = _FEW if len(X) < _FEW_ROWS else _MANY
    n_clusters = usual if wanted.n_clusters is None else wanted.n_clusters
    coreset = select(X, answer, n_clusters=n_clusters, **wanted.how)
    source.write(_selected(X, coreset), wanted.output)
    return summarise(wanted, X.shape[1], coreset, losses)


def _opened(wanted: Wanted) -> Source:
    if wanted.file.suffix == ".npy":
        return NpyFile(wanted.file)
    return ParquetFile(wanted.file, wanted.embedding, wanted.columns)


def _losses(wanted: Wanted, source: Source, rows: int) -> NDArray[np.float64] | None:
    if wanted.loss is None:
        return None
    if wanted.loss.endswith(".npy"):
        return read_losses(Path(wanted.loss), rows)
    return source.losses(wanted.loss)


def _selected(X: NDArray[Any], coreset: Coreset) -> Selected:
    labels, _ = nearest(np.asarray(X[coreset.indices], np.float32), coreset.clusters.centers)
    expected = coreset.probabilities[coreset.indices]
    return Selected(coreset.indices, coreset.weights, expected, coreset.clusters.ids[labels])
