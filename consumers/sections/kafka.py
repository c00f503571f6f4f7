"""How to reach the brokers, and the topics."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from consumers.sections.common import OptionalName, Positive, Section, Whole, secret

__all__ = ["Kafka", "Topics"]


class Kafka(Section):
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
        return secret(self.sasl_password, self.sasl_password_file)


class Topics(Section):
    """The topics of the service; empty means {name}-{role}."""

    coreset: OptionalName = Field(default="", description="weighted examples: what training reads")
    windows: OptionalName = Field(default="", description="the ledger: one entry per window")
    statistics: OptionalName = Field(default="", description="internal: from samplers to the clusterer")
    clusters: OptionalName = Field(default="", description="internal: the versioned clusters")
    estimates: OptionalName = Field(default="", description="what returned losses say of each window")
    dead_letters: OptionalName = Field(default="", description="what could not be used, and why")
    replication_factor: Whole = Field(
        default=1, ge=1, description="of topics that `stream-coreset topics` creates"
    )
    coreset_partitions: Whole = Field(default=0, ge=0, description="0: as many as the input has")
    retention_hours: Positive = Field(
        default=168, description="of the coreset and dead letters; the ledger is kept 10 times as long"
    )
