"""The model that is asked for losses, and what is learned from them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, HttpUrl, field_validator

from consumers.sections.common import Fraction, Positive, Section, Whole

__all__ = ["Endpoint", "Learning"]


class Endpoint(Section):
    """The model that is asked for losses (Open Inference Protocol, REST); without url none is asked."""

    url: HttpUrl | None = Field(
        default=None, description="such as http://127.0.0.1:8080; without it no model is asked"
    )
    model: str = Field(default="model", min_length=1, description="name of the model there")
    token_file: Path | None = Field(
        default=None, description="bearer token, read again when the file changes"
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file with the authorities that are trusted, instead of the usual ones"
    )
    binary: bool = Field(default=False, description="use the protocol's binary tensors")
    timeout_seconds: Positive = Field(default=10.0, description="of one attempt")
    deadline_seconds: Positive = Field(
        default=30.0, description="of one refresh: all its requests, attempts and waits"
    )
    attempts: int = Field(default=4, ge=1, le=20, description="of one request, the first included")
    batch: int = Field(default=256, ge=1, le=65_536, description="examples a request")
    max_response_bytes: Whole = Field(default=16_000_000, ge=1_000, description="a larger answer is refused")
    refresh_seconds: Positive = Field(default=1.0, description="least time between two refreshes")
    queries_per_refresh: Whole = Field(default=1152, ge=1, description="query budget of one refresh")
    max_age_seconds: Positive = Field(default=300.0, description="an older loss is asked again")

    @field_validator("url")
    @classmethod
    def _only_where(cls, url: HttpUrl | None) -> HttpUrl | None:
        if url is not None and (url.username or url.password or url.query or url.fragment):
            raise ValueError("it takes host, port and path only; put a secret into token_file")
        return url


class Learning(Section):
    """The surrogate: what is learned from the losses that are known, and predicted of all examples."""

    surrogate: Literal["trees", "none"] | None = Field(
        default=None,
        description="trees (and kernel ridge regression, where surely better) or none; by default trees "
        "where the extra `surrogate` is installed",
    )
    labels: int = Field(default=8_000, ge=20, le=200_000, description="examples with known losses kept")
    half_life_seconds: Positive = Field(default=600.0, description="age at which a known loss counts half")
    refit_seconds: Positive = Field(default=10.0, description="least time between two fits")
    refit_share: Fraction = Field(
        default=0.0, description="least share of new ones among the known losses, between two fits"
    )
    time_share: Fraction = Field(
        default=0.5, description="most that predicting may take of a window's other time; 0: never predict"
    )
