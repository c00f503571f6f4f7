"""Targets: our own records, as a topic that somebody else can write to may hold them."""

from __future__ import annotations

import numpy as np
from fuzz.contract import ACCEPTED, kind_of, require
from fuzz.framing import split

from consumers.records import (
    ClustersAssembler,
    LedgerEntry,
    Publication,
    RecordError,
    Statistics,
    decode_statistics,
    read_dead_letter,
)
from consumers.records.estimates import EstimateRecord
from consumers.records.feedback import FeedbackRecord
from stream_coreset.losses import MAX_LOSS

__all__ = ["DIMENSION", "clusters", "dead_letters", "estimate", "feedback", "ledger", "statistics"]

DIMENSION = 2


def statistics(value: bytes) -> str:
    """A flush of a sampler."""
    try:
        _check_statistics(decode_statistics(value, DIMENSION))
    except RecordError as error:
        return kind_of(error)
    return ACCEPTED


def clusters(value: bytes) -> str:
    """Records (key, value, key, value ...) of the topic of clusters; an empty value is a tombstone."""
    assembler, outcome = ClustersAssembler(DIMENSION), "nothing whole"
    fields = split(value)
    for key, record in zip(fields[::2], fields[1::2], strict=False):
        try:
            found = assembler.feed(key, record or None)
        except RecordError as error:
            outcome = kind_of(error)
        else:
            if found is not None:
                _check_publication(found)
                outcome = ACCEPTED
    return outcome


def ledger(value: bytes) -> str:
    """An entry of the ledger."""
    try:
        entry = LedgerEntry.decode(value)
    except RecordError as error:
        return kind_of(error)
    require(LedgerEntry.decode(entry.encode()) == entry, "an entry that changes when it is written again")
    require(all(part.start < part.end for part in entry.ranges), "an empty range")
    require(np.isfinite([entry.s, entry.cost, entry.weight_sum]).all(), "a figure that is not finite")
    return ACCEPTED


def feedback(value: bytes) -> str:
    """A loss that training reports."""
    try:
        report = FeedbackRecord.decode(value)
    except RecordError as error:
        return kind_of(error)
    require(report.loss is None or 0 <= report.loss <= MAX_LOSS, f"a loss of {report.loss}")
    return ACCEPTED


def estimate(value: bytes) -> str:
    """An estimate of ours, read back after a restart."""
    try:
        record = EstimateRecord.decode(value)
    except RecordError as error:
        return kind_of(error)
    require(EstimateRecord.decode(record.encode()) == record, "an estimate that changes when written again")
    said = [record.total, record.standard_error, record.low, record.high, record.bound, record.s]
    require(np.isfinite([one for one in said if one is not None]).all(), "a figure that is not finite")
    return ACCEPTED


def dead_letters(value: bytes) -> str:
    """Key and headers of a dead letter."""
    key, *fields = split(value) or [b""]
    names = (field.decode("utf-8", "backslashreplace") for field in fields[::2])
    try:
        found = read_dead_letter(key, tuple(zip(names, fields[1::2], strict=False)))
    except RecordError as error:
        return kind_of(error)
    require(found.source.count("/") in (2, 3), f"not a source: {found.source[:100]!r}")
    return ACCEPTED


def _check_statistics(found: Statistics) -> None:
    points, k = found.points, len(found.ids)
    require(points.points.shape == (k, DIMENSION) and k > 0, f"points of shape {points.points.shape}")
    require(points.counts.shape == points.costs.shape == (k,), "counts and costs of another number")
    for name in ("points", "counts", "costs"):
        require(np.isfinite(getattr(points, name)).all(), f"{name} that are not finite")
    require(
        (points.counts >= 0).all() and (points.costs >= 0).all() and (found.ids >= -1).all(), "below zero"
    )
    for probe in found.probes:
        require(0 <= probe.point < k and 0 <= probe.distance < np.inf, f"a probe of nothing: {probe!r:.100}")
        require(probe.member_count >= 1, f"a probe without members: {probe!r:.100}")


def _check_publication(found: Publication) -> None:
    k = found.clusters.k
    require(
        found.clusters.centers.shape == (k, DIMENSION), f"centers of shape {found.clusters.centers.shape}"
    )
    require(np.isfinite(found.clusters.centers).all(), "centers that are not finite")
    require(np.isfinite(found.clusters.counts).all(), "counts that are not finite")
    known = found.clusters.losses[~np.isnan(found.clusters.losses)]
    require(np.isfinite(known).all() and (known >= 0).all(), "losses that cannot be any")
    require(len(np.unique(found.clusters.ids)) == k, "ids that come twice")
    require(0 <= found.eta <= 1 and (found.rate is None or 0 < found.rate <= 1), "no rate or share")
