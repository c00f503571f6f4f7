"""The sections of the settings, each with its fields, limits and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    field_validator,
    model_validator,
)

from consumers.errors import ServiceError

__all__ = [
    "Clustering",
    "Endpoint",
    "Input",
    "Kafka",
    "Monitoring",
    "Name",
    "Positive",
    "Sampling",
    "SettingsError",
    "Topics",
    "Window",
]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(le=2**31 - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
OptionalName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,200}$")]


class SettingsError(ServiceError):
    """The settings cannot be used; the message names each one that is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kafka(_Section):
    """How to reach the brokers."""

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092", min_length=1, description="host:port, several separated by commas"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="whether to use TLS (SSL) and to log in (SASL)"
    )
    sasl_mechanism: str | None = Field(
        default=None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER ..."
    )
    sasl_username: str | None = Field(default=None, description="who logs in")
    sasl_password: SecretStr | None = Field(default=None, description="its password; better in a file")
    sasl_password_file: Path | None = Field(default=None, description="file with the password")
    ssl_cafile: Path | None = Field(
        default=None, description="PEM file with the authorities that are trusted"
    )
    ssl_certfile: Path | None = Field(default=None, description="PEM file with our certificate")
    ssl_keyfile: Path | None = Field(default=None, description="PEM file with its private key")
    options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="more options of kafka-python, passed on as they are"
    )

    @model_validator(mode="after")
    def _login(self) -> Kafka:
        if self.sasl_password is not None and self.sasl_password_file is not None:
            raise ValueError("give sasl_password or sasl_password_file, not both")
        if self.security_protocol.startswith("SASL") and self.sasl_mechanism is None:
            raise ValueError(f"security_protocol {self.security_protocol} needs a sasl_mechanism")
        if "@" in self.bootstrap_servers:
            raise ValueError("bootstrap_servers takes no user name or password; see sasl_username")
        return self

    def password(self) -> str | None:
        """The password, from the setting or its file; None without one."""
        return _secret(self.sasl_password, self.sasl_password_file)


class Input(_Section):
    """The stream that is sampled, and how its messages carry their embeddings."""

    topic: Name = Field(default="examples", description="the topic that is read")
    format: Literal["json", "arrow"] = Field(
        default="json", description="json: one object a message; arrow: an IPC stream of many rows a message"
    )
    embedding: str = Field(
        default="embedding", min_length=1, description="the field or column with the vector"
    )
    dimension: int = Field(ge=1, le=65_536, description="the length of the vector")
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


class Topics(_Section):
    """The topics of the service; empty means {name}-{role}."""

    coreset: OptionalName = Field(default="", description="weighted examples: what training reads")
    windows: OptionalName = Field(default="", description="the ledger: one entry per window")
    statistics: OptionalName = Field(default="", description="internal: from samplers to the clusterer")
    clusters: OptionalName = Field(default="", description="internal: the versioned clusters")
    dead_letters: OptionalName = Field(default="", description="what could not be used, and why")
    replication_factor: Whole = Field(
        default=1, ge=1, description="of topics that `stream-coreset topics` creates"
    )
    coreset_partitions: Whole = Field(default=0, ge=0, description="0: as many as the input has")
    retention_hours: Positive = Field(
        default=168, description="of the coreset and dead letters; the ledger is kept 10 times as long"
    )


class Window(_Section):
    """When a window closes (whichever comes first) and how windows share a transaction."""

    size: Whole = Field(default=8192, ge=1, description="examples")
    age_seconds: Positive = Field(default=5.0, description="since its first message arrived")
    max_bytes: Whole = Field(
        default=64_000_000, ge=1_000_000, description="so that any sample of it fits a transaction"
    )
    commit_interval_seconds: Positive = Field(
        default=0.2, description="windows closed within it share a transaction"
    )


class Sampling(_Section):
    """How many examples are kept and how they are drawn."""

    rate: float | None = Field(
        default=None, gt=0, le=1, description="expected share of examples kept (default .01)"
    )
    size: Positive | None = Field(default=None, description="or: expected number per window")
    epsilon: Positive | None = Field(default=None, description="or: the paper's error bound ...")
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
    max_few_share: float = Field(
        default=0.2,
        ge=0.05,
        le=1,
        description="most that 5 % of a window's examples can take of the probability; 1: no limit",
    )
    max_cluster_share: float = Field(
        default=0.5, gt=0, le=1, description="most that one cluster can take, or its share of the examples"
    )
    max_source_share: float = Field(
        default=0.5, gt=0, le=1, description="most that one partition can take, or its share of the examples"
    )
    seed: SecretStr | None = Field(
        default=None, description="secret seed of the draws; made up at start when unset"
    )
    seed_file: Path | None = Field(default=None, description="file with the seed")

    @model_validator(mode="after")
    def _one_budget(self) -> Sampling:
        if sum(value is not None for value in (self.rate, self.size, self.epsilon)) > 1:
            raise ValueError("give one of rate, size and epsilon, not several")
        if self.seed is not None and self.seed_file is not None:
            raise ValueError("give seed or seed_file, not both")
        return self

    def secret_seed(self) -> str | None:
        """The seed, from the setting or its file; None without one."""
        return _secret(self.seed, self.seed_file)


class Clustering(_Section):
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


class Endpoint(_Section):
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


class Monitoring(_Section):
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


def _secret(value: SecretStr | None, file: Path | None) -> str | None:
    if file is None:
        return None if value is None else value.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the secret in {file} cannot be read: {error}") from None
