"""Rows of Arrow tables as coreset messages: their columns, their size on the wire, their fingerprint."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from consumers import ipc
from consumers.codecs.examples import HEADER_PREFIX
from consumers.codecs.wire import framed_size, kept_headers, largest_texts, message_digest, ours_size
from consumers.transform import InputRecord

__all__ = [
    "Content",
    "Layout",
    "content_of",
    "fingerprint",
    "read_columns",
    "unified",
    "with_columns",
    "without_ours",
]

_NUMBERS = ("weight", "probability")
_OURS = {name: pa.float64() if name in _NUMBERS else pa.string() for name in largest_texts("")}
# A node, three buffers and their padding in a batch; and the batch's own frame, written three times.
_FIELD_BYTES, _FRAME_BYTES = 112, 1024
# The fields that we add, as the schema describes them, and their share of a batch.
_OURS_BYTES = 8 * (160 + _FIELD_BYTES)


@dataclass(frozen=True)
class Layout:
    """Upper bounds of sizes: a message without rows, its largest row, what we add to a row, all its rows."""

    base: int
    row: int
    added: int
    content: int

    def rows_within(self, max_bytes: int) -> int:
        """Return how many rows surely fit a message; at least one."""
        return max(1, (max_bytes - self.base) // self.row)


@dataclass(frozen=True, eq=False)
class Content:
    """The whole table of a message, its user's own columns of it, and how large their rows are."""

    table: pa.Table
    own: pa.Table
    layout: Layout


def content_of(record: InputRecord, table: pa.Table) -> Content:
    """Measure the table of a message."""
    own = without_ours(table)
    columns = own.columns
    fields = ipc.count_fields(own.schema)
    frame = own.schema.serialize().size + fields * _FIELD_BYTES + _OURS_BYTES + _FRAME_BYTES
    dictionaries = sum(_dictionary_bytes(column) for column in columns)
    base = framed_size(record, frame + dictionaries, kept_headers(record.headers))
    added = ours_size(record.topic) + fields // 8 + 1
    row = added + sum(_row_bytes(column) for column in columns)
    return Content(table, own, Layout(base, row, added, sum(_content_bytes(column) for column in columns)))


def _is_dictionary(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_dictionary(column.type))


def _dictionary_bytes(column: pa.ChunkedArray) -> int:
    has_one = _is_dictionary(column) and column.num_chunks > 0
    return ipc.buffer_bytes(column.chunk(0).dictionary) if has_one else 0


def _content_bytes(column: pa.ChunkedArray) -> int:
    if _is_dictionary(column):
        return len(column) * _row_bytes(column)
    return sum(map(ipc.buffer_bytes, column.chunks))


def _row_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes that the largest row of a column takes; all of them where that is hard to say."""
    column = _storage(column)
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        return int(kind.index_type.bit_width) // 8 + 1
    if types.is_fixed_size_list(kind) and types.is_floating(kind.value_type):
        return int(kind.list_size) * (int(kind.value_type.bit_width) // 8 + 1)
    if types.is_primitive(kind):
        return int(kind.bit_width) // 8 + 1
    if types.is_binary(kind) or types.is_string(kind):
        longest = pc.max(pc.binary_length(column)).as_py() or 0
        return int(longest) + 5
    return sum(map(ipc.buffer_bytes, column.chunks)) + 1


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what an extension type is stored as; functions of Arrow do not take such types themselves."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def unified(table: pa.Table) -> pa.Table:
    """Return a table each of whose dictionary columns has one dictionary."""
    several = any(_is_dictionary(column) and column.num_chunks > 1 for column in table.columns)
    return table.unify_dictionaries() if several else table


def without_ours(table: pa.Table) -> pa.Table:
    """Return a table without the columns of a coreset."""
    names = table.column_names
    own = [place for place, name in enumerate(names) if not name.startswith(HEADER_PREFIX)]
    return table if len(own) == len(names) else table.select(own)


def with_columns(table: pa.Table, said: list[dict[str, str]]) -> pa.Table:
    """Add the columns of the coreset; `said` has what `sample_texts` says of each row."""
    for name, kind in _OURS.items():
        texts = [row[name] for row in said]
        values = pa.array(map(float, texts) if name in _NUMBERS else texts, kind)
        table = table.append_column(HEADER_PREFIX + name, values)
    return table


def read_columns(table: pa.Table) -> list[dict[str, str]]:
    """Read what `with_columns` added; ValueError where a column lacks, comes twice or is another."""
    ours = [field for field in table.schema if field.name.startswith(HEADER_PREFIX)]
    found = {field.name.removeprefix(HEADER_PREFIX): field.type for field in ours}
    if found != _OURS or len(ours) != len(_OURS):
        raise ValueError("a message without the columns of the coreset")
    columns = [table.column(HEADER_PREFIX + name) for name in _OURS]
    if any(column.null_count for column in columns):
        raise ValueError("a message with nulls in the columns of the coreset")
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return [dict(zip(_OURS, map(str, row), strict=True)) for row in rows]


def fingerprint(record: InputRecord, own: pa.Table, row: int) -> bytes:
    """Return a digest of the message's key, headers and timestamp, its schema, and one row's values."""
    alone = own.slice(row, 1).take([0])  # cheap, then as if it had never been among others
    plain = [_plain(column) for column in alone.combine_chunks().columns]
    names = [str(position) for position in range(len(plain))]
    values = ipc.write_stream(pa.Table.from_arrays(plain, names=names))
    return message_digest(record, own.schema.serialize().to_pybytes(), values)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = column.chunk(0)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
