"""Users' examples as the service sees them: what a message decodes to and what is emitted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from consumers.transform import InputRecord

__all__ = [
    "HEADER_PREFIX",
    "Codec",
    "Decoded",
    "Emission",
    "EmittedExample",
    "OutputBound",
    "RowError",
    "Rows",
    "SampleColumns",
]

HEADER_PREFIX = "coreset-"
Headers = tuple[tuple[str, bytes], ...]
Rows = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class RowError:
    """Why one row, or with `row` None the whole message (one dead row), cannot be used."""

    row: int | None
    exception: str
    message: str


@dataclass(frozen=True, eq=False)
class Decoded:
    """One input message, decoded; immutable, and what the other methods of a codec take.

    Parameters
    ----------
    record : InputRecord
        The message itself.
    rows : int
        Rows of the message, usable or not: ``len(valid_rows) + len(errors)``. One that cannot be decoded is
        one row.
    embeddings : (v, d) float32
        Of the usable rows, each with a squared norm of at most 1e30. A view of the message where possible.
    valid_rows : (v,) int64
        Position of each usable row in its message, increasing.
    weights : (v,) float64
        What the example already weighed in its input: 1 unless `chain` found a weight.
    errors : tuple of RowError
        One for each row that cannot be used.
    groups : (v,) int64 or None
        Of each usable row, what stands for its value of `input.group`; None where no groups are asked for.
    content : object
        What the codec needs again for emission; None where nothing is.
    """

    record: InputRecord
    rows: int
    embeddings: NDArray[np.float32]
    valid_rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    errors: tuple[RowError, ...] = ()
    groups: NDArray[np.int64] | None = None
    content: Any = None


@dataclass(frozen=True, eq=False)
class SampleColumns:
    """What is said of each selected example, in the order of the rows it is given with.

    Parameters
    ----------
    window : str
        Window id.
    clusters : int
        Version of the clusters; 0 = none yet.
    weights, probabilities : (m,) float64
        Of this draw alone; the codec multiplies a chained input's weight in itself.
    ranks : (m,) int64
        Place in the draw order.
    cluster_ids : (m,) int64
        Id of the published ancestor; negative = just placed, or no clusters yet.
    distances, center_losses, spreads, loss_ages, predictions, scores : (m,) float64
        Why: distance to the center (not squared), its loss, its spread, age of that loss in seconds, the loss
        that the surrogate predicted and the score p. NaN = unknown.
    """

    window: str
    clusters: int
    weights: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    ranks: NDArray[np.int64]
    cluster_ids: NDArray[np.int64]
    distances: NDArray[np.float64]
    center_losses: NDArray[np.float64]
    spreads: NDArray[np.float64]
    loss_ages: NDArray[np.float64]
    predictions: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class Emission:
    """One message for the coreset topic: with the record's own key and timestamp, and these (all) headers."""

    value: bytes
    headers: Headers


@dataclass(frozen=True)
class OutputBound:
    """Upper bounds, known before the draw, of the bytes that a message can become in the coreset topic.

    Parameters
    ----------
    total : int
        Every usable row emitted once, in as many messages as it takes, framing and headers included.
    single : int
        One row alone in a message of its own. Any m rows, duplicates too, take at most m times this.
    """

    total: int
    single: int


@dataclass(frozen=True)
class EmittedExample:
    """One example of the coreset topic, read back."""

    source: str
    window: str
    weight: float
    probability: float
    rank: int
    cluster: str
    clusters: int
    fingerprint: bytes


class Codec(Protocol):
    """The one seam between the service and the format of the examples."""

    def decode(self, record: InputRecord) -> Decoded:
        """Decode a message of the input; never raises for its content, see `Decoded.errors`."""

    def largest_output(self, decoded: Decoded, max_bytes: int) -> OutputBound:
        """Bound what `emit` can make of any sample of this message, for messages of at most `max_bytes`.

        Where `single` exceeds `max_bytes` the message must not be sampled, but dead-lettered before the draw.
        """

    def emit(
        self,
        decoded: Decoded,
        rows: Rows,
        columns: SampleColumns,
        max_bytes: int,
    ) -> list[Emission]:
        """Turn the selected rows (positions in the message, duplicates allowed) into coreset messages."""

    def example(self, decoded: Decoded, row: int | None) -> bytes:
        """Return one example alone, for probes and dead letters; row None is the whole value."""

    def embedding(self, example: bytes) -> NDArray[np.float32] | None:
        """Embedding (d,) of what `example` returned; None where the bytes are not a usable example."""

    def emitted(self, record: InputRecord) -> list[EmittedExample]:
        """Read a message of the coreset topic back; ValueError where it is not one of ours."""

    def fingerprint(self, decoded: Decoded, row: int) -> bytes:
        """Digest of everything emission must keep of a row; equals that of `emitted`."""
