"""Arrow IPC streams that nobody vouches for: opened without copying, and refused before they can do harm.

Arrow's reader takes buffers, offsets and lengths as the message states them. So every stream is first
walked by hand (see `consumers.ipc_guard`), then read, and every batch is measured and fully validated before
anything looks at a value.
"""

from __future__ import annotations

import pyarrow as pa
from pyarrow import ipc

from consumers.ipc_guard import SHARING, SLACK, IpcError, check_stream

__all__ = ["IpcError", "count_fields", "read_stream", "write_stream"]

MAX_FIELDS = 10_000
MAX_DEPTH = 16


def read_stream(value: bytes) -> pa.Table:
    """Read a whole IPC stream as a table whose columns are views of `value`.

    Raises
    ------
    IpcError
        When the stream is damaged, lies about its sizes, is compressed, has something after its end,
        or holds types that cannot be selected row by row.
    """
    try:
        check_stream(value)
        with ipc.open_stream(pa.py_buffer(value)) as reader:
            _check_types(reader.schema)
            table = pa.Table.from_batches(_checked(reader, len(value)), reader.schema)
    except IpcError:
        raise
    except (pa.ArrowException, ValueError, OSError, OverflowError, MemoryError) as error:
        raise IpcError(f"not a readable Arrow IPC stream: {_short(error)}") from None
    return table


def write_stream(table: pa.Table) -> bytes:
    """Write a table as one IPC stream, uncompressed."""
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    value: bytes = sink.getvalue().to_pybytes()
    return value


def _checked(reader: ipc.RecordBatchStreamReader, nbytes: int) -> list[pa.RecordBatch]:
    """Read all batches, measure and validate them.

    Columns that point at the same bytes, or dictionaries that grow with every batch, would make copies, and
    take time, far beyond the size of the message. What a batch holds can be measured once its ends are
    validated, and must be before every value is.
    """
    batches: list[pa.RecordBatch] = []
    room, seen = SHARING * nbytes + SLACK, set[tuple[int, ...]]()
    for batch in reader:
        batch.validate()
        room -= sum(_holds(column, seen) for column in batch.columns)
        if room < 0:
            raise IpcError("its columns overlap: they hold more bytes than the message")
        batch.validate(full=True)
        batches.append(batch)
    return batches


def _holds(column: pa.Array, seen: set[tuple[int, ...]]) -> int:
    """Return the bytes of a column; a dictionary counts when it is first seen."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    key = tuple(0 if buffer is None else buffer.address for buffer in column.dictionary.buffers())
    nbytes = 0 if key in seen else column.dictionary.nbytes
    seen.add(key)
    return int(column.indices.nbytes + nbytes)


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


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
