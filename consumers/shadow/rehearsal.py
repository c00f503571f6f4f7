"""A sampler and a clusterer of the service in one process: what one writes the other reads, nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from consumers.clusterer import ClustererTransform
from consumers.codecs.examples import Decoded
from consumers.feedback import ReturnedLosses
from consumers.metrics import ClustererMetrics, SamplerMetrics
from consumers.records import ClustersAssembler, Publication
from consumers.refresher import LossEndpoint, Refresher
from consumers.sampler import DrawnWindow, SamplerTransform
from consumers.settings import Settings
from consumers.transform import InputRecord, Output, Unit
from stream_coreset.window import Window

__all__ = ["Rehearsal"]

_AT_ONCE, _ANY_RATE = 1e-9, 1e12
_LOOK_SECONDS = 0.01
_REFIT_SHARE = 0.125  # learning after every window would take most of a dry run, and gain next to nothing


class Rehearsal:
    """The transforms of both roles, in lockstep: every window is merged, asked about and published at once.

    So what is learned does not depend on how fast the stream is read. The budget of losses of one refresh
    is that of a window here, a surrogate is learned anew whenever an eighth of the losses is new (and
    published one window later), and windows do not age while one is worked on; losses do.

    Parameters
    ----------
    settings : Settings
        Of the deployment that is rehearsed.
    endpoint : LossEndpoint, optional
        Who is asked for the losses of centers.
    returned : ReturnedLosses
        Losses that come back.
    stop : threading.Event
        Ends the waiting for the endpoint.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: LossEndpoint | None,
        returned: ReturnedLosses,
        stop: threading.Event,
    ) -> None:
        settings = _in_lockstep(settings)
        self._statistics, self._clusters = settings.topic("statistics"), settings.topic("clusters")
        self._refresher = None if endpoint is None else _OnceAWindow(endpoint)
        self._stop = stop
        self._publication: Publication | None = None
        self._drawn: DrawnWindow | None = None
        self._assembler = ClustersAssembler(settings.input.dimension)
        self._sampler = SamplerTransform(settings, lambda: self._publication, SamplerMetrics(), self._note)
        self._clusterer = ClustererTransform(
            settings, lambda: None, ClustererMetrics(), self._refresher, returned
        )
        self._clusterer.reset([(self._statistics, 0)])
        self._written = 0
        self._at_work = 0.0  # seconds, in which no window ages

    @property
    def publication(self) -> Publication | None:
        """The newest version of the clusters."""
        return self._publication

    def take(self, records: Sequence[InputRecord]) -> Iterator[tuple[Window[Decoded], DrawnWindow]]:
        """Take messages; yield every window that closed, after all that the service does with it.

        Those without a usable example are not yielded.
        """
        for window in self._sampler.cut(records, time.monotonic() - self._at_work):
            began, self._drawn = time.monotonic(), None
            self._read(self._sampler.apply(window))
            self._learn()
            if self._drawn is not None:
                yield window, self._drawn
            self._at_work += time.monotonic() - began

    def _note(self, window: Window[Decoded], drawn: DrawnWindow) -> None:
        self._drawn = drawn

    def _read(self, unit: Unit) -> None:
        """What a sampler writes: the clusterer reads the statistics, nobody the rest."""
        unit.on_commit()
        if self._refresher is not None:
            self._refresher.open = True
        self._merge([self._record(one) for one in unit.outputs if one.topic == self._statistics])

    def _learn(self) -> None:
        """Wait for the losses that were asked, publish what they say, and learn from them."""
        if self._refresher is not None:
            refresher, self._refresher.open = self._refresher, False
            self._wait(lambda: refresher.asking)
        self._merge([])
        self._wait(lambda: self._clusterer.learning)

    def _wait(self, busy: Callable[[], bool]) -> None:
        while busy() and not self._stop.is_set():
            self._stop.wait(_LOOK_SECONDS)

    def _record(self, output: Output) -> InputRecord:
        self._written += 1
        return InputRecord(output.topic, 0, self._written - 1, output.key, output.value)

    def _merge(self, records: Sequence[InputRecord]) -> None:
        for merge in self._clusterer.cut(records, time.monotonic()):
            unit = self._clusterer.apply(merge)
            unit.on_commit()
            for output in unit.outputs:
                if output.topic == self._clusters:
                    self._publication = self._assembler.feed(output.key, output.value) or self._publication


class _OnceAWindow(Refresher):
    """Asks only while it is open."""

    open = False

    @property
    def idle(self) -> bool:
        """Whether it may be asked."""
        return self.open and super().idle

    @property
    def asking(self) -> bool:
        """Whether an answer is on its way."""
        return not super().idle


def _in_lockstep(settings: Settings) -> Settings:
    cadences = {
        "clustering": {
            "flush_seconds": _AT_ONCE,
            "publish_seconds": _AT_ONCE,
            "publish_bytes_per_second": _ANY_RATE,
        },
        "endpoint": {"refresh_seconds": _AT_ONCE},
        "learning": {"refit_seconds": _AT_ONCE, "refit_share": _REFIT_SHARE},
    }
    sections = {name: getattr(settings, name).model_copy(update=how) for name, how in cadences.items()}
    return settings.model_copy(update=sections)
