"""An independent checker of the service's promises, written from the protocol alone.

It imports nothing of the service: what it knows is how the topics must look, and it reads them as anybody
could. ``Checker(stream).start()`` before the faults, ``finish(seconds)`` after them.
"""

from chaos.checker.check import Checker
from chaos.checker.findings import KINDS, Finding, Report
from chaos.checker.stream import Stream, Topics

__all__ = ["KINDS", "Checker", "Finding", "Report", "Stream", "Topics"]
