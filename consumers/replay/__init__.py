"""``stream-coreset replay-dead-letters``: what could not be used goes back into the stream, exactly once."""

from __future__ import annotations

from consumers.replay.report import ReplayReport
from consumers.replay.run import replay
from consumers.replay.selection import Selection

__all__ = ["ReplayReport", "Selection", "replay"]
