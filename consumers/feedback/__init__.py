"""Losses that come back: joined with what was emitted, they teach the clusters and judge the sample."""

from __future__ import annotations

from consumers.feedback.returned import ReturnedLosses

__all__ = ["ReturnedLosses"]
