"""``stream-coreset clusters``: the centers as they are published, and how much of the sample each gets."""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from consumers.errors import ServiceError
from consumers.explaining.looking import newest, reading
from consumers.explaining.told import texts_of
from consumers.reader import latest_publication
from consumers.records import Publication
from consumers.settings import Settings
from consumers.tables import ago, aligned, percent, short, wrapped
from consumers.transform import InputRecord

__all__ = ["Center", "ClusterTable", "add_options", "cluster_table", "report", "sampled"]

_LAST_MESSAGES = 20_000  # of the coreset, from which shares of the sample are counted
_TOP = 20
_HEADINGS = ("id", "mass", "of mass", "center loss", "spread", "age of loss", "of sample")


@dataclass(frozen=True)
class Center:
    """One center; None = unknown.

    Attributes
    ----------
    id : int
    mass : float
        Examples, decayed.
    mass_share : float
        Of the mass of all centers.
    loss, spread : float or None
    loss_age_seconds : float or None
        Since its loss was asked; None for one that was not: its loss, if any, is an estimate.
    sample_share : float or None
        Of the examples of the coreset that were emitted last.
    """

    id: int
    mass: float
    mass_share: float
    loss: float | None
    spread: float | None
    loss_age_seconds: float | None
    sample_share: float | None


@dataclass(frozen=True)
class ClusterTable:
    """A version of the clusters, its centers by their share of the sample, the largest first.

    Attributes
    ----------
    version : int
    model_version : str
    age_seconds : float
        Since it was published.
    unknown_losses : int
        Centers without a loss that was asked.
    sample_examples : int
        Examples of the coreset that shares were counted from.
    sample_elsewhere : int
        How many of them belong to centers just placed, or gone since.
    centers : tuple of Center
    top : int
        How many of them are shown to people.
    """

    version: int
    model_version: str
    age_seconds: float
    unknown_losses: int
    sample_examples: int
    sample_elsewhere: int
    centers: tuple[Center, ...]
    top: int = _TOP

    def json(self) -> dict[str, Any]:
        """Return all of it as values of JSON."""
        values = asdict(self)
        del values["top"]
        return values

    def render(self) -> str:
        """Return it as lines to read."""
        shown = self.centers[: self.top]
        rows = [_HEADINGS, *(_cells(center) for center in shown)]
        hidden = len(self.centers) - len(shown)
        more = [f"... and {hidden:,} more: --top {len(self.centers)} shows all"] if hidden else []
        return "\n".join([*map(wrapped, self._head()), "", aligned(rows, range(len(_HEADINGS))), *more])

    def _head(self) -> list[str]:
        model = (
            f"losses of model version {self.model_version}" if self.model_version else "no model asked yet"
        )
        of = f"{self.unknown_losses:,} of {len(self.centers):,} centers"
        n, elsewhere = self.sample_examples, self.sample_elsewhere
        counted = (
            f"of sample: counted in the last {n:,} examples of the coreset, {elsewhere:,} of which belong to "
            "centers just placed, or gone since"
        )
        return [
            f"clusters version {self.version}, published {ago(self.age_seconds)} ago; {model}",
            f"without a known loss: {of}",
            counted if n else "of sample: unknown, for the coreset holds nothing yet; sorted by mass",
        ]


def _cells(center: Center) -> tuple[str, ...]:
    estimate = "~" if center.loss is not None and center.loss_age_seconds is None else ""
    return (
        str(center.id),
        short(center.mass),
        percent(center.mass_share),
        estimate + short(center.loss),
        short(center.spread),
        ago(center.loss_age_seconds),
        percent(center.sample_share),
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.description = (
        f"{parser.description}. Mass: examples of a cluster, older ones counting less. Center loss: that "
        "of the example nearest to the center. Spread: root mean square loss of the members asked, shrunk. "
        "Of sample: the cluster's share of what was emitted last; above its share of the mass it is taken "
        "more often than uniform sampling would. A dash: unknown; ~: an estimate, for it was not asked."
    )
    parser.add_argument(
        "--top", type=_count, default=_TOP, metavar="N", help=f"show so many centers (default {_TOP}; 0: all)"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def report(settings: Settings, arguments: argparse.Namespace) -> ClusterTable:
    """Read the newest clusters and the end of the coreset.

    Raises
    ------
    ServiceError
        When there are no clusters, they are of another stream, or the topics cannot be read.
    """
    with reading():
        publication = latest_publication(settings)
        if publication is None or not publication.clusters.k:
            raise ServiceError(
                f"There are no clusters in {settings.topic('clusters')} yet: they are published once a "
                "sampler has closed a window while a clusterer runs."
            )
        publication.check_stream(settings)
        counts = sampled(settings, newest(settings, settings.topic("coreset"), _LAST_MESSAGES))
    return cluster_table(publication, counts, time.time_ns() // 1_000_000, arguments.top)


def sampled(settings: Settings, records: Iterable[InputRecord]) -> Counter[str]:
    """Count the examples of coreset messages by the cluster that they name."""
    counts = Counter[str]()
    for record in records:
        try:
            counts.update(texts["cluster"] for texts in texts_of(record, settings.input))
        except (ValueError, KeyError):
            continue  # the audit is the place to complain
    return counts


def cluster_table(
    publication: Publication, counts: Counter[str], now_ms: int, top: int = _TOP
) -> ClusterTable:
    """Make the table of a publication; `counts` are examples emitted lately by cluster, `top` 0 shows all."""
    clusters, total = publication.clusters, counts.total()
    age = max(0.0, (now_ms - publication.published_ms) / 1000)
    mass = float(clusters.counts.sum()) or 1.0
    centers = [
        Center(
            id=int(number),
            mass=float(clusters.counts[row]),
            mass_share=float(clusters.counts[row]) / mass,
            loss=_known(clusters.losses[row]),
            spread=_known(clusters.spreads[row]),
            loss_age_seconds=_known(clusters.loss_ages[row] + age),
            sample_share=counts[str(number)] / total if total else None,
        )
        for row, number in enumerate(clusters.ids)
    ]
    centers.sort(key=lambda center: (-(center.sample_share or 0.0), -center.mass, center.id))
    return ClusterTable(
        version=clusters.version,
        model_version=clusters.model_version,
        age_seconds=age,
        unknown_losses=clusters.k - int(np.count_nonzero(clusters.known)),
        sample_examples=total,
        sample_elsewhere=total - sum(counts[str(number)] for number in clusters.ids),
        centers=tuple(centers),
        top=top or len(centers),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
