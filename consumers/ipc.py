"""Arrow IPC streams that nobody vouches for: opened without copying, and refused before they can do harm.

Arrow's reader takes buffers, offsets and lengths as the message states them. So every stream is walked first
(framing, compression, what follows its end), then read, and every batch is fully validated and measured
before anything looks at a value. Compressed bodies are refused outright: they are a decompression bomb in
waiting, and Kafka's own compression does the same job for the whole message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa
from pyarrow import ipc

__all__ = ["IpcError", "count_fields", "read_stream", "write_stream"]

MAX_FIELDS = 10_000
MAX_DEPTH = 16
# What alignment may add to each buffer, and what a reader may add in validity bitmaps it makes up.
SLACK_PER_BUFFER = 128


class IpcError(ValueError):
    """The bytes are not an Arrow IPC stream that can be used; the message says why."""


def read_stream(value: bytes) -> pa.Table:
    """Read a whole IPC stream as a table whose columns are views of `value`.

    Raises
    ------
    IpcError
        When the stream is damaged, lies about its sizes, is compressed, has something after its end,
        or holds types that cannot be selected row by row.
    """
    try:
        _refuse_compressed(value)
        with ipc.open_stream(pa.py_buffer(value)) as reader:
            _check_types(reader.schema)
            batches = list(_checked(reader))
            table = pa.Table.from_batches(batches, reader.schema)
        _refuse_overlaps(table, len(value))
    except IpcError:
        raise
    except (pa.ArrowException, ValueError, OSError, OverflowError, struct.error, MemoryError) as error:
        raise IpcError(f"not a readable Arrow IPC stream: {_short(error)}") from None
    return table


def write_stream(table: pa.Table) -> bytes:
    """Write a table as one IPC stream, uncompressed."""
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    value: bytes = sink.getvalue().to_pybytes()
    return value


def _checked(reader: ipc.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        batch.validate(full=True)
        yield batch


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _refuse_compressed(value: bytes) -> None:
    source = pa.BufferReader(value)
    for message in ipc.MessageReader.open_stream(source):
        if _compressed(message.type, message.metadata.to_pybytes()):
            raise IpcError("compressed Arrow bodies are refused; let Kafka compress (compression.type)")
    if source.tell() != len(value):
        raise IpcError(f"{len(value) - source.tell()} bytes follow the end of the Arrow stream")


def _compressed(kind: str, metadata: bytes) -> bool:
    """Look for the table `compression` of a (dictionary) batch in a message's flatbuffer (Message.fbs)."""
    if kind not in ("record batch", "dictionary"):
        return False
    header = _follow(metadata, _field(metadata, _follow(metadata, 0), 2))
    if kind == "dictionary":
        header = _follow(metadata, _field(metadata, header, 1))
    return _field(metadata, header, 3) is not None


def _follow(buffer: bytes, position: int | None) -> int:
    if position is None:
        raise IpcError("an Arrow message without a header")
    offset: int = struct.unpack_from("<I", buffer, position)[0]
    return position + offset


def _field(buffer: bytes, table: int, index: int) -> int | None:
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    slot = 4 + 2 * index
    if vtable < 0 or slot >= struct.unpack_from("<H", buffer, vtable)[0]:
        return None
    offset: int = struct.unpack_from("<H", buffer, vtable + slot)[0]
    return table + offset if offset else None


def _check_types(schema: pa.Schema) -> None:
    if count_fields(schema) > MAX_FIELDS:
        raise IpcError(f"more than {MAX_FIELDS} columns")
    for field in schema:
        _check_type(field.type, field.name, 0)


def _check_type(kind: pa.DataType, name: str, depth: int) -> None:
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    types = pa.types
    if depth > MAX_DEPTH or _unsupported(storage) or (depth and types.is_dictionary(storage)):
        raise IpcError(f"column {name[:100]!r}: rows of type {str(kind)[:100]} cannot be selected")
    children = [storage.value_type] if types.is_dictionary(storage) else _children(storage)
    for child in children:
        _check_type(child, name, depth + 1)


def _unsupported(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_union(kind)
        or types.is_run_end_encoded(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
        or types.is_string_view(kind)
        or types.is_binary_view(kind)
    )


def _children(kind: pa.DataType) -> list[pa.DataType]:
    return [kind.field(i).type for i in range(kind.num_fields)]


def count_fields(schema: pa.Schema) -> int:
    """Return the number of fields of a schema, nested ones and dictionaries included."""
    return sum(_count(field.type) for field in schema)


def _count(kind: pa.DataType) -> int:
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if pa.types.is_dictionary(storage):
        return 1 + _count(storage.value_type)
    return 1 + sum(_count(child) for child in _children(storage))


def _refuse_overlaps(table: pa.Table, nbytes: int) -> None:
    """Two columns that point at the same bytes would make copies larger than the message."""
    if table.nbytes > nbytes + SLACK_PER_BUFFER * table.num_columns:
        raise IpcError("its columns overlap: they hold more bytes than the message")
