"""Every setting of the service: defaults < YAML file < environment < command line; unknown keys are refused."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

__all__ = [
    "Clustering",
    "Endpoint",
    "Input",
    "Kafka",
    "Monitoring",
    "Sampling",
    "Settings",
    "Topics",
    "Window",
    "load_settings",
]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kafka(_Section):
    """How to reach the brokers."""

    bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, several separated by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    options: dict[str, Any] = Field(
        default_factory=dict, description="further options, passed to kafka-python as they are"
    )


class Input(_Section):
    """The stream that is sampled, and how its messages carry their embeddings."""

    topic: Name = "examples"
    format: Literal["json", "arrow"] = "json"
    embedding: str = Field("embedding", min_length=1, description="the field or column with the vector")
    dimension: int = Field(..., ge=1, le=65_536, description="the length of the vector")
    max_message_bytes: int = Field(
        1_000_000, ge=1_000, description="a larger message is dead-lettered before the draw"
    )
    start: Literal["earliest", "latest"] | datetime = Field(
        "latest", description="where a new name begins: earliest, latest or a time"
    )
    chain: bool = Field(False, description="accept input that is a coreset itself, and multiply its weights")


class Topics(_Section):
    """The topics of the service; empty means {name}-{role}."""

    coreset: str = ""
    windows: str = ""
    statistics: str = ""
    clusters: str = ""
    dead_letters: str = ""
    replication_factor: int = Field(1, ge=1, description="of topics that `stream-coreset topics` creates")
    coreset_partitions: int = Field(0, ge=0, description="0: as many as the input has")
    retention_hours: Positive = Field(168, description="of the coreset and dead letters; the ledger is kept 10 times as long")


class Window(_Section):
    """When a window closes (whichever comes first) and how windows share a transaction."""

    size: int = Field(8192, ge=1, description="examples")
    age_seconds: Positive = Field(5.0, description="since its first message arrived")
    max_bytes: int = Field(64_000_000, ge=1_000_000, description="so that any sample of it fits a transaction")
    commit_interval_seconds: Positive = Field(0.2, description="windows closed within it share a transaction")


class Sampling(_Section):
    """How many examples are kept and how they are drawn (METHOD in the README)."""

    rate: float | None = Field(None, gt=0, le=1, description="expected share of examples kept (default .01)")
    size: float | None = Field(None, gt=0, description="or: expected number per window")
    epsilon: float | None = Field(None, gt=0, description="or: the paper's error bound ...")
    delta: float = Field(0.1, gt=0, lt=1, description="... and the probability that it fails")
    z: float = Field(2.0, ge=1, le=2, description="2: k-means, 1: k-medians distances in the scores")
    floor: Fraction = Field(0.2, description="share of the probability spread evenly; bounds every weight")
    design: Literal["pivotal", "systematic", "iid"] = "pivotal"
    probes: int = Field(9, ge=1, le=1000, description="loss queries per cluster; 1 is the paper")
    seed: SecretStr | None = Field(None, description="secret seed of the draws; made up at start when unset")

    @model_validator(mode="after")
    def _one_budget(self) -> Sampling:
        if sum(value is not None for value in (self.rate, self.size, self.epsilon)) > 1:
            raise ValueError("give one of rate, size and epsilon, not several")
        return self


class Clustering(_Section):
    """The clusters of the stream."""

    n_clusters: int = Field(256, ge=1, le=100_000)
    half_life: Positive = Field(1_000_000, description="examples after which old ones count half")
    lloyd_steps: int = Field(1, ge=0, le=20)
    split_fraction: Fraction = Field(0.125, description="largest share of centers replaced in a window")
    device: Literal["cpu", "cuda", "auto"] = "auto"
    flush_seconds: Positive = Field(1.0, description="cadence of statistics")
    flush_bytes: int = Field(8_000_000, ge=100_000, description="byte budget of a flush of statistics")
    publish_seconds: Positive = Field(1.0, description="least time between two versions of clusters")
    publish_bytes_per_second: Positive = Field(1_000_000, description="average of published clusters")


class Endpoint(_Section):
    """The model that is asked for losses (Open Inference Protocol, REST); without url none is asked."""

    url: HttpUrl | None = None
    model: str = Field("model", min_length=1)
    token_file: Path | None = Field(None, description="bearer token, read again when the file changes")
    binary: bool = Field(False, description="use the protocol's binary tensors")
    timeout_seconds: Positive = 10.0
    attempts: int = Field(4, ge=1, le=20)
    batch: int = Field(256, ge=1, le=65_536, description="examples a request")
    max_response_bytes: int = Field(16_000_000, ge=1_000)
    refresh_seconds: Positive = Field(1.0, description="least time between two refreshes")
    queries_per_refresh: int = Field(1152, ge=1, description="query budget of one refresh")
    max_age_seconds: Positive = Field(300.0, description="an older loss is asked again")


class Monitoring(_Section):
    """Metrics and health over HTTP, and the log."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65_535, description="0: any free port")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"


class Settings(BaseSettings):
    """All settings of one deployment."""

    model_config = SettingsConfigDict(
        env_prefix="STREAM_CORESET_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )
    yaml_file: ClassVar[Path | None] = None

    name: Name = Field("coreset", description="of the deployment: consumer groups, transactional ids, topics")
    instance: Name = Field("0", description="of this sampler among its siblings; stable across restarts")
    kafka: Kafka = Field(default_factory=Kafka)
    input: Input
    topics: Topics = Field(default_factory=Topics)
    window: Window = Field(default_factory=Window)
    sampling: Sampling = Field(default_factory=Sampling)
    clustering: Clustering = Field(default_factory=Clustering)
    endpoint: Endpoint = Field(default_factory=Endpoint)
    monitoring: Monitoring = Field(default_factory=Monitoring)
    session_timeout_seconds: Positive = Field(10.0, description="a dead member's partitions move after this")
    transaction_timeout_seconds: Positive = Field(20.0, description="a dead member's transaction ends after this")
    grace_seconds: Positive = Field(10.0, description="for the window at hand when asked to stop")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line (given as init), then environment, then the YAML file."""
        sources = (init_settings, env_settings)
        return sources if cls.yaml_file is None else (*sources, YamlConfigSettingsSource(settings_cls, cls.yaml_file))

    def topic(self, role: Literal["coreset", "windows", "statistics", "clusters", "dead_letters"]) -> str:
        """Name of one of our topics."""
        named: str = getattr(self.topics, role)
        return named or f"{self.name}-{role.replace('_', '-')}"

    def stream_digest(self) -> str:
        """SHA-256 of the settings that say which stream this is (DESIGN: settings)."""
        which = [self.input.topic, self.input.format, self.input.embedding, self.input.dimension]
        return hashlib.sha256(json.dumps(which).encode()).hexdigest()


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings; `overrides` (the command line) win."""
    bound = type("Settings", (Settings,), {"yaml_file": config, "__module__": __name__})
    loaded: Settings = bound(**overrides)
    return loaded
