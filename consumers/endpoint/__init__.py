"""The model endpoint: examples and embeddings out, losses back."""

from __future__ import annotations

from consumers.endpoint.client import CircuitOpen, EndpointError, EndpointObserver, ModelEndpoint

__all__ = ["CircuitOpen", "EndpointError", "EndpointObserver", "ModelEndpoint"]
