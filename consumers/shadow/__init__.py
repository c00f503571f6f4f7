"""``stream-coreset sampler --shadow``: what sampling a live topic would gain, before anyone relies on it.

A sampler and a clusterer of the service run on the stream in one process; nothing is written to Kafka, no
offset is committed. Meanwhile the losses of a few uniform examples, asked or reported, judge what is drawn.
"""

from __future__ import annotations

from consumers.shadow.run import shadow

__all__ = ["shadow"]
