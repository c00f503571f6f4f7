"""What the service is asked about itself: why an example was taken or not, and what the clusters are."""

from __future__ import annotations

__all__: list[str] = []
