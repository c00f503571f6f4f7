"""``stream-coreset select``: a weighted sample of the rows of a file, for people without Kafka."""

from __future__ import annotations

from consumers.one_shot.command import run
from consumers.one_shot.options import Wanted, add_options, read_options

__all__ = ["Wanted", "add_options", "read_options", "run"]
