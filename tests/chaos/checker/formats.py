"""Users' examples, read as anybody could: the rows of an input message, the examples of a coreset message."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from chaos.checker.entries import MalformedError
from chaos.checker.messages import OURS, Message
from chaos.checker.stream import Stream
from numpy.typing import NDArray

__all__ = ["Drawn", "Format", "Rows", "format_of"]

_TEXTS = ("window", "source", "cluster", "why")
_WHOLE = ("rank", "clusters")
_NUMBERS = ("weight", "probability")
_SURELY_FITS = 500_000
_SURELY_NEAR = 1e14


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of an input message.

    Attributes
    ----------
    embeddings : (n, d) float64
        Zeros where a row has none.
    sound : (n,) bool
        Whether the row has an embedding of the right length, all finite.
    nbytes : (n,) float64
        The row's share of the message.
    table : pyarrow.Table, optional
        The message as Arrow, where it is that.
    """

    embeddings: NDArray[np.float64]
    sound: NDArray[np.bool_]
    nbytes: NDArray[np.float64]
    table: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.sound)

    def surely_usable(self, message: Message) -> NDArray[np.bool_]:
        """Rows that no limit of the service could refuse: small, near, nothing of its own names."""
        size = len(message.value or b"") + len(message.key or b"")
        names = [name for name, _ in message.headers] + (self.table.column_names if self.table else [])
        plain = size < _SURELY_FITS and not any(name.startswith(OURS) for name in names)
        near: NDArray[np.bool_] = (np.abs(self.embeddings) < _SURELY_NEAR).all(axis=1)
        return self.sound & near & plain


@dataclass(frozen=True, eq=False)
class Drawn:
    """An example of the coreset, and what the service says of it."""

    message: Message
    window: str
    source: str
    cluster: str
    why: str
    rank: int
    clusters: int
    weight: float
    probability: float
    row: pa.Table | None = None

    @property
    def offset(self) -> tuple[str, int, int]:
        """Topic, partition and offset that its source names."""
        topic, partition, offset, *_ = self.source.split("/")
        return topic, int(partition), int(offset)


class Format(Protocol):
    """How examples lie in messages."""

    many_rows: bool

    def rows(self, message: Message) -> Rows:
        """The rows of an input message; one that cannot be read is one row."""

    def drawn(self, message: Message) -> list[Drawn]:
        """The examples of a coreset message; MalformedError where it is not one."""

    def same(self, drawn: Drawn, rows: Rows, row: int, message: Message) -> bool:
        """Whether an example is, byte for byte or value for value, that row of the message."""

    def alone(self, rows: Rows, row: int, message: Message, value: bytes | None) -> bool:
        """Whether bytes are that row alone, as a dead letter carries it."""


def format_of(stream: Stream) -> Format:
    """The format of a deployment's input."""
    return Arrow(stream) if stream.format == "arrow" else Json(stream)


@dataclass(frozen=True)
class Json:
    """One object a message; the coreset has its bytes, and headers."""

    stream: Stream
    many_rows = False

    def rows(self, message: Message) -> Rows:
        found = self._embedding(message.value)
        values = np.array([found if found is not None else [0.0] * self.stream.dimension], np.float64)
        nbytes = np.array([float(len(message.value or b""))])
        return Rows(values, np.array([found is not None]), nbytes)

    def _embedding(self, value: bytes | None) -> list[float] | None:
        try:
            found = orjson.loads(value or b"")[self.stream.embedding]
        except (orjson.JSONDecodeError, TypeError, KeyError, IndexError):
            return None
        if not isinstance(found, list) or len(found) != self.stream.dimension:
            return None
        return found if all(type(x) in (int, float) and math.isfinite(x) for x in found) else None

    def drawn(self, message: Message) -> list[Drawn]:
        names = (*_TEXTS, *_WHOLE, *_NUMBERS)
        return [_drawn(message, {name: message.header(OURS + name) for name in names})]

    def same(self, drawn: Drawn, rows: Rows, row: int, message: Message) -> bool:
        return drawn.message.value == message.value

    def alone(self, rows: Rows, row: int, message: Message, value: bytes | None) -> bool:
        return value == message.value


@dataclass(frozen=True)
class Arrow:
    """An IPC stream a message, many rows; the coreset has equal rows, and columns."""

    stream: Stream
    many_rows = True

    def rows(self, message: Message) -> Rows:
        table = _table(message.value)
        if table is None or self.stream.embedding not in table.column_names:
            one = np.zeros((1, self.stream.dimension))
            return Rows(one, np.array([False]), np.array([float(len(message.value or b""))]))
        column = table.column(self.stream.embedding).combine_chunks()
        right = pc.fill_null(pc.list_value_length(column), -1).to_numpy() == self.stream.dimension
        values = np.zeros((len(table), self.stream.dimension))
        flat = column.filter(pa.array(right)).flatten().to_numpy(zero_copy_only=False)  # null becomes NaN
        values[right] = flat.astype(np.float64).reshape(-1, self.stream.dimension)
        sound = right & np.isfinite(values).all(axis=1)
        values[~sound] = 0.0
        return Rows(values, sound, _row_bytes(message, table), table)

    def drawn(self, message: Message) -> list[Drawn]:
        table = _table(message.value)
        if table is None:
            raise MalformedError("not an Arrow IPC stream")
        names = [name for name in table.column_names if name.startswith(OURS)]
        wrong = [name for name in names if table.schema.field(name).type != _type(name)]
        if wrong:
            raise MalformedError(f"columns of another type: {', '.join(wrong)}")
        own = table.drop_columns(names)
        said = table.select(names).to_pylist()
        texts = [{name.removeprefix(OURS): value for name, value in row.items()} for row in said]
        return [_drawn(message, text, own.slice(place, 1)) for place, text in enumerate(texts)]

    def same(self, drawn: Drawn, rows: Rows, row: int, message: Message) -> bool:
        return drawn.row is not None and _same_row(drawn.row, rows.table, row)

    def alone(self, rows: Rows, row: int, message: Message, value: bytes | None) -> bool:
        table = _table(value)
        return table is not None and len(table) == 1 and _same_row(table, rows.table, row)


def _type(name: str) -> pa.DataType:
    return pa.float64() if name.removeprefix(OURS) in _NUMBERS else pa.string()


def _table(value: bytes | None) -> pa.Table | None:
    try:
        return pa.ipc.open_stream(value or b"").read_all()
    except (pa.ArrowException, OSError, ValueError):
        return None


def _same_row(one: pa.Table, table: pa.Table | None, row: int) -> bool:
    """Whether a table of one row is that row of another, with an equal schema."""
    if table is None or not one.schema.equals(table.schema, check_metadata=True):
        return False
    other = table.slice(row, 1)
    return bool(one.equals(other)) or repr(one.to_pylist()) == repr(other.to_pylist())  # NaN is not NaN


def _row_bytes(message: Message, table: pa.Table) -> NDArray[np.float64]:
    """Texts and bytes count where they are, the rest of the message in equal parts."""
    long = [c for c in table.columns if pa.types.is_string(c.type) or pa.types.is_binary(c.type)]
    lengths = [pc.fill_null(pc.binary_length(c), 0).to_numpy().astype(np.float64) for c in long]
    own = np.sum([np.zeros(len(table)), *lengths], axis=0)
    rest = max(0.0, len(message.value or b"") - own.sum())
    shares: NDArray[np.float64] = own + rest / max(1, len(table))
    return shares


def _drawn(message: Message, said: dict[str, Any], row: pa.Table | None = None) -> Drawn:
    """An example from what is said of it; MalformedError where something lacks."""
    try:
        drawn = Drawn(
            message,
            **{name: str(_there(said, name)) for name in _TEXTS},
            **{name: int(_there(said, name)) for name in _WHOLE},
            **{name: float(_there(said, name)) for name in _NUMBERS},
            row=row,
        )
        drawn.offset  # noqa: B018 - ValueError where the source is none
    except (ValueError, TypeError) as error:
        raise MalformedError(str(error)) from None
    return drawn


def _there(said: dict[str, Any], name: str) -> Any:
    value = said.get(name)
    if value is None:
        raise ValueError(f"coreset-{name} lacks")
    return value
