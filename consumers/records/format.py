"""What our own Arrow records share: the one exception, the format version, and points packed in float16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from consumers import ipc

__all__ = [
    "FORMAT",
    "MAX_NORM",
    "RecordError",
    "decode_json",
    "first_mistake",
    "pack_points",
    "points_type",
    "read_table",
    "unpack_points",
]

R = TypeVar("R")
FORMAT = 1
MAX_CHUNK = 900_000
# Points beyond this would overflow squared distances in float32.
MAX_NORM = 1e15
_META = (b"coreset", b"offset", b"scale")


class RecordError(ValueError):
    """A record of ours is damaged, hostile or of another format version; the message says which."""


_FARTHEST = 60_000.0  # float16 ends at 65,504


def points_type(dimension: int) -> pa.DataType:
    """Return the Arrow type of packed points."""
    return pa.list_(pa.float16(), dimension)


def scaling(points: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return offset and scale (d,) of each column.

    The offset is the median, and the farthest point is scaled to the end of float16's range, so that the
    nearer ones keep its relative precision down to 1e-9 of the farthest one's distance.
    """
    columns = np.ascontiguousarray(np.transpose(points))  # what follows is faster along memory
    if not len(points):
        return np.zeros(len(columns), np.float32), np.ones(len(columns), np.float32)
    offset = np.median(columns, axis=1).astype(np.float32)
    wide, middle = np.float64, offset.astype(np.float64)
    farthest = np.maximum(
        columns.max(axis=1).astype(wide) - middle, middle - columns.min(axis=1).astype(wide)
    )
    scale = (farthest / _FARTHEST).astype(np.float32)
    scale[scale < 1e-30] = 1
    return offset, scale


def pack_points(points: NDArray[Any], offset: NDArray[np.float32], scale: NDArray[np.float32]) -> pa.Array:
    """Pack points (k, d) as ``(point - offset) / scale`` in float16."""
    packed = ((np.asarray(points, dtype=np.float64) - offset) / scale).astype(np.float16)
    return pa.FixedSizeListArray.from_arrays(pa.array(packed.ravel()), points.shape[1])


def unpack_points(
    column: pa.ChunkedArray, offset: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the points (k, d) as float32; RecordError where one is not finite or far too large."""
    packed = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):  # NaN and infinite: refused below
        flat = packed.astype(np.float64).reshape(len(column), len(offset))
        points: NDArray[np.float64] = flat * scale + offset
    if not np.all(np.abs(points) <= MAX_NORM):
        raise RecordError("a point is not finite or too large")
    return points.astype(np.float32)


def metadata(head: Mapping[str, Any], offset: NDArray[Any], scale: NDArray[Any]) -> dict[bytes, bytes]:
    """Return the schema metadata of a record: its head as JSON, and the scaling of its points."""
    arrays = (np.asarray(a, dtype="<f4").tobytes() for a in (offset, scale))
    return dict(zip(_META, (orjson.dumps(dict(head)), *arrays), strict=True))


def read_table(
    value: bytes | None, schema: pa.Schema, dimension: int, max_bytes: int
) -> tuple[pa.Table, dict[str, Any], NDArray[np.float32], NDArray[np.float32]]:
    """Read one Arrow record of ours: its table, head, offset (d,) and scale (d,).

    Raises
    ------
    RecordError
        When it is too large, not Arrow, has another schema, format or dimension, or a null at the top.
    """
    if value is None or len(value) > max_bytes:
        raise RecordError("an empty record, or a too large one")
    try:
        table = ipc.read_stream(value)
    except ipc.IpcError as error:
        raise RecordError(str(error)) from None
    if not table.schema.equals(schema):
        raise RecordError("a record with other columns")
    if any(column.null_count for column in table.columns):
        raise RecordError("a record with nulls")
    head, offset, scale = _read_metadata(table.schema.metadata or {}, dimension)
    return table, head, offset, scale


def _read_metadata(
    found: Mapping[bytes, bytes], dimension: int
) -> tuple[dict[str, Any], NDArray[np.float32], NDArray[np.float32]]:
    if set(found) != set(_META):
        raise RecordError("a record without its head")
    try:
        head = orjson.loads(found[b"coreset"])
    except orjson.JSONDecodeError:
        raise RecordError("a record whose head is not JSON") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise RecordError(f"a record of another format than {FORMAT}")
    offset, scale = (_vector(found[name], dimension) for name in _META[1:])
    if not np.all(scale > 0):
        raise RecordError("a scale that is not positive")
    return head, offset, scale


def decode_json(adapter: TypeAdapter[R], value: bytes | None, what: str, max_bytes: int) -> R:
    """Read a record in JSON; RecordError where anything is odd."""
    if value is None or len(value) > max_bytes:
        raise RecordError(f"{what}: empty or too large")
    try:
        return adapter.validate_json(value, strict=True)
    except ValidationError as error:
        raise RecordError(f"{what}: {first_mistake(error)}") from None


def first_mistake(error: ValidationError) -> str:
    """Say what is wrong with a JSON record, and where; keys may be anything, and long."""
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(repr(part)[1:-1] if isinstance(part, str) else str(part) for part in detail["loc"])
    return f"{where[:100]}: {detail['msg']}" if where else detail["msg"]


def _vector(data: bytes, dimension: int) -> NDArray[np.float32]:
    if len(data) != 4 * dimension:
        raise RecordError(f"an offset or scale that has not {dimension} values")
    vector: NDArray[np.float32] = np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not np.isfinite(vector).all():
        raise RecordError("an offset or scale that is not finite")
    return vector


def whole(head: Mapping[str, Any], name: str) -> int:
    """Return a count of a head; RecordError where it is missing or not a whole number >= 0."""
    value = head.get(name)
    if type(value) is not int or not 0 <= value < 2**63:
        raise RecordError(f"{name} is not a whole number")
    return value


def text(head: Mapping[str, Any], name: str, longest: int = 1000) -> str:
    """Return a text of a head; RecordError where it is missing or too long."""
    value = head.get(name)
    if not isinstance(value, str) or len(value) > longest:
        raise RecordError(f"{name} is not a text")
    return value


def column(table: pa.Table, name: str, least: float | None = None) -> NDArray[Any]:
    """Return a column of numbers; with `least`, RecordError where one is below it or not finite."""
    values: NDArray[Any] = table.column(name).to_numpy()
    if least is not None and not np.all((values >= least) & (values < np.inf)):
        raise RecordError(f"{name}: a value below {least} or not finite")
    return values
