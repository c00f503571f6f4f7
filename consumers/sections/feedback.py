"""Losses that come back from training."""

from __future__ import annotations

from pydantic import Field, model_validator

from consumers.sections.common import Name, Positive, Section, Whole

__all__ = ["Feedback"]


class Feedback(Section):
    """Losses of emitted examples that training reports to a topic of yours; without it: off."""

    topic: Name | None = Field(
        default=None, description="the topic with {window, source, loss, model_version}; without it: off"
    )
    wait_seconds: Positive = Field(
        default=600.0, description="after a window: the estimate says which losses are missing, no total"
    )
    max_age_seconds: Positive = Field(
        default=3600.0, description="after a window: losses that come later are not used"
    )
    max_bytes: Whole = Field(
        default=256_000_000, ge=1_000_000, description="memory for examples that wait for their losses"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Feedback:
        if self.wait_seconds > self.max_age_seconds:
            raise ValueError("wait_seconds must be at most max_age_seconds")
        return self
