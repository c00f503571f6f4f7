"""The published clusters: versions increase, and each one is whole and what its digest says (invariant 5)."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from chaos.checker.findings import Findings
from chaos.checker.messages import Message

__all__ = ["Publications"]

_HEAD = b"head"
_CHUNK = re.compile(rb"chunk-(\d{5})")
_LARGEST = 900_000
_DIGEST = re.compile(rb'("digest":)"([0-9a-f]{64})"')


class Publications:
    """Puts versions together from the records of the topic, read live, in their order."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._chunks: dict[int, bytes] = {}
        self._ids: dict[int, frozenset[str]] = {0: frozenset()}
        self._newest = 0
        self._settings: str | None = None

    def __len__(self) -> int:
        return len(self._ids) - 1

    def ids(self, version: int) -> frozenset[str] | None:
        """The ids of a version's clusters, none for version 0; None for one that was not published."""
        return self._ids.get(version)

    def take(self, message: Message) -> None:
        """Take a committed record of the topic."""
        chunk = _CHUNK.fullmatch(message.key or b"")
        if chunk and message.value is None:
            self._chunks.pop(int(chunk[1]), None)
        elif chunk and message.value is not None:
            self._chunks[int(chunk[1])] = message.value
        elif message.key == _HEAD:
            self._complete(message)

    def _complete(self, message: Message) -> None:
        try:
            head = orjson.loads(message.value or b"")
            version = int(head["version"])
            self._check_head(head, version, message.value or b"")
            self._ids[version] = self._check_chunks(head, version)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            self._found.add("clusters", f"record {message.offset} of the clusters: {error!r}")

    def _check_head(self, head: dict[str, Any], version: int, value: bytes) -> None:
        if version <= self._newest:
            self._found.add("clusters", f"version {version} was published after version {self._newest}")
        self._newest = max(self._newest, version)
        if self._settings not in (None, head["settings_digest"]):
            self._found.add(
                "clusters", f"version {version} is of another stream: its settings digest changed"
            )
        self._settings = head["settings_digest"]
        chunks = [self._chunks.get(number) for number in range(head["chunks"])]
        if None in chunks or len(self._chunks) != len(chunks):
            said = f"{head['chunks']} chunks, the topic holds {len(self._chunks)}"
            self._found.add("clusters", f"version {version} has {said}")
        elif head["digest"] != _digest(value, self._held()):
            self._found.add("clusters", f"version {version}: its digest does not match")

    def _held(self) -> list[bytes]:
        return [self._chunks[number] for number in sorted(self._chunks)]

    def _check_chunks(self, head: dict[str, Any], version: int) -> frozenset[str]:
        """The ids of the clusters in the chunks."""
        ids: list[int] = []
        for chunk in self._held():
            table = pa.ipc.open_stream(chunk).read_all()
            said = orjson.loads(table.schema.metadata[b"coreset"])
            if said["version"] != version or len(chunk) > _LARGEST:
                wrong = f"a chunk of version {said['version']} and {len(chunk)} bytes"
                self._found.add("clusters", f"version {version} has {wrong}")
            ids += np.asarray(table.column("ids")).tolist()
        if len(ids) != head["k"] or len(set(ids)) != len(ids):
            self._found.add("clusters", f"version {version}: {len(set(ids))} ids, not {head['k']}")
        return frozenset(map(str, ids))


def _digest(head: bytes, chunks: list[bytes]) -> str:
    """SHA-256 of the head with an empty digest, and of the SHA-256 of each chunk."""
    found = hashlib.sha256(_DIGEST.sub(rb'\1""', head))
    for chunk in chunks:
        found.update(hashlib.sha256(chunk).digest())
    return found.hexdigest()
