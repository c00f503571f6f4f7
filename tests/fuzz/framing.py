"""Several byte strings in one, so that whatever mutates or guides needs to know one input only."""

from __future__ import annotations

import struct
from collections.abc import Iterable

__all__ = ["join", "split"]


def join(fields: Iterable[bytes]) -> bytes:
    """Put a length of four bytes before each field.

    >>> split(join([b"a", b""]))
    [b'a', b'']
    """
    return b"".join(struct.pack("<I", len(field)) + field for field in fields)


def split(value: bytes) -> list[bytes]:
    """Take the fields apart again; a length that lies ends with the value.

    >>> split(b"\\xff\\xff\\xff\\xffabc")
    [b'abc']
    """
    fields, position = [], 0
    while position < len(value):
        length = int.from_bytes(value[position : position + 4], "little")
        fields.append(value[position + 4 : position + 4 + length])
        position += 4 + length
    return fields
