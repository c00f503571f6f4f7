"""How many examples are kept and how they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from consumers.sections.common import Fraction, Positive, Section, secret

__all__ = ["DEFAULT_RATE", "Sampling"]

DEFAULT_RATE = 0.01  # without any budget


class Sampling(Section):
    """How many examples are kept and how they are drawn."""

    rate: float | None = Field(
        default=None, gt=0, le=1, description="expected share of examples kept (default .01)"
    )
    size: Positive | None = Field(default=None, description="or: expected number per window")
    epsilon: Positive | None = Field(default=None, description="or: the paper's error bound ...")
    per_hour: Positive | None = Field(
        default=None, description="or: expected number an hour, of all samplers; the clusterer sets the rate"
    )
    delta: float = Field(default=0.1, gt=0, lt=1, description="... and the probability that it fails")
    z: float = Field(default=2.0, ge=1, le=2, description="2: k-means, 1: k-medians distances in the scores")
    floor: Fraction = Field(
        default=0.2, description="share of the probability spread evenly; bounds every weight"
    )
    design: Literal["pivotal", "systematic", "iid"] = Field(
        default="pivotal",
        description="pivotal: fixed size; systematic: about the same, faster; iid: the paper",
    )
    probes: int = Field(default=9, ge=1, le=1000, description="loss queries per cluster; 1 is the paper")
    max_unmeasured_share: float = Field(
        default=0.2,
        ge=0.05,
        le=1,
        description="most that 5 % of a window's examples have of what distances and guessed losses say",
    )
    max_few_share: float = Field(
        default=1.0,
        ge=0.05,
        le=1,
        description="most that they take of the probability, whatever their losses; 1: no limit",
    )
    max_cluster_share: float = Field(
        default=0.5, gt=0, le=1, description="most that one cluster can take, or its share of the examples"
    )
    max_source_share: float = Field(
        default=0.5, gt=0, le=1, description="most that one partition can take, or its share of the examples"
    )
    min_group_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="with input.group: share of the examples of each of its values that is kept at least",
    )
    seed: SecretStr | None = Field(
        default=None, description="secret seed of the draws; made up at start when unset"
    )
    seed_file: Path | None = Field(default=None, description="file with the seed")

    @model_validator(mode="after")
    def _one_budget(self) -> Sampling:
        if sum(value is not None for value in (self.rate, self.size, self.epsilon, self.per_hour)) > 1:
            raise ValueError("give one of rate, size, epsilon and per_hour, not several")
        if self.per_hour is not None and self.design == "iid":
            raise ValueError("windows of design iid are cut for one rate: give rate instead of per_hour")
        if self.seed is not None and self.seed_file is not None:
            raise ValueError("give seed or seed_file, not both")
        return self

    def secret_seed(self) -> str | None:
        """The seed, from the setting or its file; None without one."""
        return secret(self.seed, self.seed_file)
