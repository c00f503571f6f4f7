"""The stream that is sampled: its messages, its windows, its clusters."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from consumers.sections.common import Fraction, Name, Positive, Section, Whole

__all__ = ["Clustering", "Input", "Window"]


class Input(Section):
    """The stream that is sampled, and how its messages carry their embeddings."""

    topic: Name = Field(default="examples", description="the topic that is read")
    format: Literal["json", "arrow"] = Field(
        default="json", description="json: one object a message; arrow: an IPC stream of many rows a message"
    )
    embedding: str = Field(
        default="embedding", min_length=1, description="the field or column with the vector"
    )
    dimension: int = Field(ge=1, le=65_536, description="the length of the vector")
    group: str | None = Field(
        default=None,
        min_length=1,
        description="the field or column whose values have fair shares, see sampling.min_group_rate",
    )
    max_message_bytes: Whole = Field(
        default=1_000_000, ge=1_000, description="a larger message is dead-lettered before the draw"
    )
    start: Literal["earliest", "latest"] | AwareDatetime = Field(
        default="latest",
        description="where a new name begins: earliest, latest or a time such as 2026-01-31T12:00Z",
    )
    chain: bool = Field(
        default=False, description="accept input that is a coreset itself, and multiply its weights"
    )


class Window(Section):
    """When a window closes (whichever comes first) and how windows share a transaction."""

    size: Whole = Field(default=8192, ge=1, description="examples")
    age_seconds: Positive = Field(default=5.0, description="since its first message arrived")
    max_bytes: Whole = Field(
        default=64_000_000, ge=1_000_000, description="so that any sample of it fits a transaction"
    )
    commit_interval_seconds: Positive = Field(
        default=0.2, description="windows closed within it share a transaction"
    )


class Clustering(Section):
    """The clusters of the stream."""

    n_clusters: int = Field(default=256, ge=1, le=100_000, description="clusters of the stream (k)")
    half_life: Positive = Field(default=1_000_000, description="examples after which old ones count half")
    lloyd_steps: int = Field(default=1, ge=0, le=20, description="Lloyd steps on each window")
    split_fraction: Fraction = Field(
        default=0.25, description="largest share of centers replaced in a window"
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="auto",
        description="cuda fails without a GPU; auto takes one where there is one and logs its choice",
    )
    flush_seconds: Positive = Field(default=1.0, description="cadence of statistics")
    flush_bytes: Whole = Field(
        default=8_000_000, ge=100_000, description="byte budget of a flush of statistics"
    )
    publish_seconds: Positive = Field(default=1.0, description="least time between two versions of clusters")
    publish_bytes_per_second: Positive = Field(default=1_000_000, description="average of published clusters")
