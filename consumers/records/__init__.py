"""Our own records as bytes, each with a format version: ledger, statistics, publications, dead letters.

Everything read here is untrusted: sizes, shapes, finiteness and the format version are checked, nothing is
unpickled, and whatever is odd raises `RecordError` and nothing else.
"""

from __future__ import annotations

from consumers.records.assembler import ClustersAssembler
from consumers.records.dead_letters import DeadLetter, dead_letter, read_dead_letter
from consumers.records.format import RecordError
from consumers.records.ledger import LedgerEntry, Range, emitted_digest, source_id
from consumers.records.publication import Held, Publication, encode_publication
from consumers.records.statistics import Probe, Statistics, decode_statistics, encode_statistics

__all__ = [
    "ClustersAssembler",
    "DeadLetter",
    "Held",
    "LedgerEntry",
    "Probe",
    "Publication",
    "Range",
    "RecordError",
    "Statistics",
    "dead_letter",
    "decode_statistics",
    "emitted_digest",
    "encode_publication",
    "encode_statistics",
    "read_dead_letter",
    "source_id",
]
