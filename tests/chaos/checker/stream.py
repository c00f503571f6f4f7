"""Which deployment is checked: all that the checker has to be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Stream", "Topics"]


@dataclass(frozen=True)
class Topics:
    """Names of the topics by their role (DESIGN: topics)."""

    input: str
    coreset: str
    windows: str
    statistics: str
    clusters: str
    dead_letters: str

    @classmethod
    def of(cls, name: str, input_topic: str) -> Topics:
        """The topics of a deployment that names them by default."""
        roles = ("coreset", "windows", "statistics", "clusters", "dead-letters")
        return cls(input_topic, *(f"{name}-{role}" for role in roles))


@dataclass(frozen=True)
class Stream:
    """A deployment to check.

    Attributes
    ----------
    servers : str
        Bootstrap servers, several separated by commas.
    topics : Topics
    groups : tuple of str
        The consumer groups of the samplers and of the clusterer.
    dimension : int
        Length of an embedding.
    format : {"json", "arrow"}
        Of the input.
    embedding : str
        Its field or column.
    """

    servers: str
    topics: Topics
    groups: tuple[str, ...]
    dimension: int
    format: Literal["json", "arrow"] = "json"
    embedding: str = "embedding"
