"""Metrics and health over HTTP, and the log."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from consumers.sections.common import Positive, Section

__all__ = ["Monitoring"]


class Monitoring(Section):
    """Metrics and health over HTTP, and the log."""

    host: str = Field(
        default="127.0.0.1", description="address of /metrics, /healthz and /readyz; 0.0.0.0 for all"
    )
    port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="0: any free one; `run` gives its children this one and those after it",
    )
    max_loop_age_seconds: Positive = Field(
        default=60.0, description="/healthz fails when the loop stands still longer"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level shown"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="text for people, json for collectors"
    )
