"""Whether the published versions of the clusters are whole and rise (invariant 5)."""

from __future__ import annotations

from collections.abc import Iterable

from consumers.audit.report import Violations
from consumers.records import ClustersAssembler, RecordError
from consumers.transform import InputRecord

__all__ = ["check_versions"]


def check_versions(records: Iterable[InputRecord], dimension: int, violations: Violations) -> int:
    """Read the clusters' topic; return how many versions it holds whole.

    A head whose chunks have been compacted away is not judged.

    Parameters
    ----------
    records : iterable of InputRecord
        In the order of the topic.
    dimension : int
        Of the centers.
    violations : Violations
        Told of each version that is damaged, repeated or goes back.
    """
    assembler, last, count = ClustersAssembler(dimension), 0, 0
    for record in records:
        try:
            publication = assembler.feed(record.key, record.value)
        except RecordError as error:
            violations.add(f"the clusters at offset {record.offset}: {error}")
            continue
        if publication is None:
            continue
        count += 1
        version = publication.clusters.version
        if version <= last:
            violations.add(f"clusters version {version} follows {last}")
        last = version
    return count
