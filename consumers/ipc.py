"""Arrow IPC streams that nobody vouches for: opened without copying, and refused before they can do harm.

Arrow's reader takes buffers, offsets and lengths as the message states them. So every stream is first
walked by hand (see `consumers.ipc_guard`), then read, and every batch is measured and fully validated before
anything looks at a value.
"""

from __future__ import annotations

import pyarrow as pa
from pyarrow import ipc

from consumers.ipc_guard import SHARING, SLACK, IpcError, check_stream

__all__ = ["IpcError", "buffer_bytes", "count_fields", "read_stream", "write_stream"]

MAX_FIELDS = 10_000
MAX_DEPTH = 16


def read_stream(value: bytes, most: int = 0) -> pa.Table:
    """Read a whole IPC stream as a table whose columns are views of `value`.

    Parameters
    ----------
    value : bytes
        From anywhere.
    most : int
        Bytes of the message that its rows may come from: what was within its limits there is so here, too.

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
            table = pa.Table.from_batches(_checked(reader, max(len(value), most)), reader.schema)
    except IpcError:
        raise
    except KeyError as error:  # intervals of months, and of days with milliseconds
        raise IpcError(f"a column of a type that pyarrow does not know (number {error})") from None
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
    take time, far beyond the size of the message: so it is measured before every value is validated.
    """
    batches: list[pa.RecordBatch] = []
    room, seen = SHARING * nbytes + SLACK, set[tuple[int, ...]]()
    weightless = [i for i, field in enumerate(reader.schema) if _holds_weightless(field.type)]
    for batch in reader:
        batch.validate()
        room -= sum(_holds(column, seen) for column in batch.columns)
        room -= sum(_count_weightless(batch.column(i)) for i in weightless)
        if room < 0:
            raise IpcError("it claims more than it holds: its columns overlap, or have values of no bytes")
        batch.validate(full=True)
        batches.append(batch)
    return batches


def _holds(column: pa.Array, seen: set[tuple[int, ...]]) -> int:
    """Return the bytes of a column; a dictionary counts when it is first seen."""
    if not pa.types.is_dictionary(column.type):
        return buffer_bytes(column)
    key = tuple(0 if buffer is None else buffer.address for buffer in column.dictionary.buffers())
    nbytes = 0 if key in seen else buffer_bytes(column.dictionary)
    seen.add(key)
    return buffer_bytes(column.indices) + nbytes


def buffer_bytes(array: pa.Array) -> int:
    """Bytes of all buffers of an array, each as often as it is used.

    Arrow's own `nbytes` follows offsets, also those that an empty array need not have: it then crashes.
    """
    return sum(buffer.size for buffer in array.buffers() if buffer is not None)


def _is_weightless(kind: pa.DataType) -> bool:
    """Whether values of a type take no bytes, so that a message may claim billions of them."""
    types = pa.types
    if types.is_fixed_size_list(kind):
        return kind.list_size == 0 or _is_weightless(_storage(kind.value_type))
    if types.is_struct(kind):
        return all(_is_weightless(_storage(child)) for child in _children(kind))
    return bool(types.is_null(kind) or (types.is_fixed_size_binary(kind) and kind.byte_width == 0))


def _holds_weightless(kind: pa.DataType) -> bool:
    below = _below(_storage(kind))
    return any(_is_weightless(_storage(child)) or _holds_weightless(child) for child in below)


def _count_weightless(array: pa.Array) -> int:
    """Count the values without bytes below an array: selecting rows writes down a position of each."""
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    return sum(
        _is_weightless(_storage(part.type)) * len(part) + _count_weightless(part) for part in _parts(storage)
    )


def _parts(array: pa.Array) -> list[pa.Array]:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return [array.dictionary]
    if pa.types.is_struct(kind):
        return [array.field(i) for i in range(kind.num_fields)]
    return [array.values] if kind.num_fields else []


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _check_types(schema: pa.Schema) -> None:
    if count_fields(schema) > MAX_FIELDS:
        raise IpcError(f"more than {MAX_FIELDS} columns")
    for field in schema:
        _check_type(field.type, field.name, 0)


def _check_type(kind: pa.DataType, name: str, depth: int) -> None:
    storage, types = _storage(kind), pa.types
    if depth > MAX_DEPTH or _unsupported(storage) or (depth and types.is_dictionary(storage)):
        raise IpcError(f"column {name[:100]!r}: rows of type {str(kind)[:100]} cannot be selected")
    for child in _below(storage):
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


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _below(storage: pa.DataType) -> list[pa.DataType]:
    return [storage.value_type] if pa.types.is_dictionary(storage) else _children(storage)


def _children(kind: pa.DataType) -> list[pa.DataType]:
    return [kind.field(i).type for i in range(kind.num_fields)]


def count_fields(schema: pa.Schema) -> int:
    """Return the number of fields of a schema, nested ones and dictionaries included."""
    return sum(_count(field.type) for field in schema)


def _count(kind: pa.DataType) -> int:
    return 1 + sum(_count(child) for child in _below(_storage(kind)))
