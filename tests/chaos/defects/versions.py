"""Defects of the clusterer: what it publishes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chaos.defects.registry import changed, defect, nth

import consumers.clusterer
from consumers.records.publication import Publication

_VERSION = 2  # of a process: the publication that a defect concerns


@defect("a version that goes back", finding="clusters")
def _back() -> None:
    """A clusterer that has taken over does not read what is published, and begins at 1."""
    this = nth(_VERSION)

    def encode(original: Any, publication: Publication, *rest: Any) -> Any:
        old = replace(publication.clusters, version=1)
        return original(replace(publication, clusters=old) if this() else publication, *rest)

    changed(consumers.clusterer, "encode_publication", encode)


@defect("a chunk of another version", finding="clusters")
def _mixed() -> None:
    """The chunks of one publication are those of the one before, with the new head."""
    held: list[Any] = []
    this = nth(_VERSION)

    def encode(original: Any, *arguments: Any) -> Any:
        records = original(*arguments)
        held.append(records[:-1])
        return [*held[-2], records[-1]] if this() else records

    changed(consumers.clusterer, "encode_publication", encode)
