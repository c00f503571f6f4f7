"""Changes to Arrow IPC streams where it hurts: lengths, offsets and tables of the flatbuffers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import Random
from struct import error as StructError  # noqa: N812

from fuzz.mutation import mutate, number

from consumers.ipc_guard import IpcError, _Walk

__all__ = ["big_endian", "change_arrow", "spans"]


def change_arrow(rng: Random, value: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Change a stream, mostly in what it says of itself."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        chance = rng.random()
        if chance < 0.6:
            value = _lie(rng, value)
        elif chance < 0.75:
            value = _exchange(rng, value, others)
        elif chance < 0.78:
            value = big_endian(value)
        else:
            value = mutate(rng, value, others)
    return value


def spans(value: bytes) -> list[tuple[int, int, int]]:
    """Return where each message's flatbuffer starts and ends, and where its body ends; as far as it goes."""
    found, position = [], 0
    with suppress(StructError, IpcError):
        while position + 8 <= len(value):
            length = int.from_bytes(value[position + 4 : position + 8], "little")
            start, end = position + 8, position + 8 + length
            if not 0 < length <= len(value) - start:
                break
            walk = _Walk(value[start:end], 0)
            at = walk.field(walk.follow(0), 3)
            body = 0 if at is None else int.from_bytes(value[start + at : start + at + 8], "little")
            if end + body > len(value):
                break
            found.append((start, end, end + body))
            position = end + body
    return found


def _lie(rng: Random, value: bytes) -> bytes:
    """Overwrite a number in a flatbuffer: by one that no length should be, or by another one of its own."""
    messages = spans(value)
    if not messages:
        return mutate(rng, value)
    start, end, _ = rng.choice(messages)
    size = rng.choice((2, 4, 4, 8, 8))
    at = start + rng.randrange(max(1, (end - start) // size)) * size
    if rng.random() < 0.4:
        other = start + rng.randrange(max(1, (end - start) // size)) * size
        said = value[other : other + size]
    elif rng.random() < 0.5:
        now = int.from_bytes(value[at : at + size], "little")
        near = now + rng.choice((1, -1, 4, -4, 8, -8, 64, now))
        said = (near % 256**size).to_bytes(size, "little")
    else:
        said = number(rng, size)
    return value[:at] + said + value[at + size :]


def _exchange(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    """Put a message of another stream, or one of its own again, in the place of one."""
    messages, source = spans(value), rng.choice(others) if others and rng.random() < 0.5 else value
    theirs = spans(source)
    if not messages or not theirs:
        return mutate(rng, value, others)
    (start, _, end), (first, _, last) = rng.choice(messages), rng.choice(theirs)
    piece = source[first - 8 : last]
    return value[: rng.choice((start - 8, end))] + piece * rng.choice((1, 1, 2, 50)) + value[end:]


def big_endian(value: bytes) -> bytes:
    """Say that a stream is big-endian: let the schema's first slot point at a one somewhere behind it."""
    for start, end, _ in spans(value)[:1]:
        buffer = value[start:end]
        walk = _Walk(buffer, 0)
        with suppress(StructError, IpcError, StopIteration):
            schema = walk.table(walk.follow(0), 2)
            vtable = schema - int.from_bytes(buffer[schema : schema + 4], "little", signed=True)
            one = next(
                at
                for at in range(schema + 2, min(len(buffer), schema + 65_536), 2)
                if buffer[at : at + 2] == b"\1\0"
            )
            slot = start + vtable + 4
            return value[:slot] + (one - schema).to_bytes(2, "little") + value[slot + 2 :]
    return value
