"""A broker as a security officer wants it: TLS, logins, an authorizer; certificates for one run of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from consumers.broker import Broker
from consumers.rights import Right

ADMIN, PASSPHRASE = "admin", "sentinel-passphrase"
LISTENERS = {
    "LOGIN": "SASL_SSL",  # where the service logs in, and brokers with each other
    "MUTUAL": "SSL",  # who we are is in our certificate
    "STRANGER": "SASL_SSL",  # whose certificate is for another host
    "EXPIRED": "SASL_SSL",
    "CONTROLLER": "SSL",
}
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


@dataclass(frozen=True)
class Secured:
    """A secured broker and what its clients need."""

    broker: Broker
    directory: Path

    def login(self, user: str, *, listener: str = "LOGIN", password: str | None = None) -> dict[str, Any]:
        """The section `kafka` of the settings for a user who logs in."""
        file = self.directory / f"{user}.password"
        secret = {"sasl_password_file": str(file)} if password is None else {"sasl_password": password}
        return {
            "bootstrap_servers": self.broker.servers(listener),
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": user,
            **secret,
            "ssl_cafile": str(self.directory / "ca.pem"),
        }

    def certified(self) -> dict[str, Any]:
        """The section `kafka` for the owner of the client certificate, whose key has a passphrase."""
        return {
            "bootstrap_servers": self.broker.servers("MUTUAL"),
            "security_protocol": "SSL",
            "ssl_cafile": str(self.directory / "ca.pem"),
            "ssl_certfile": str(self.directory / "client.pem"),
            "ssl_keyfile": str(self.directory / "client.key"),
            "options": {"ssl_password": PASSPHRASE},
        }


@contextmanager
def secured_broker(directory: Path, users: tuple[str, ...]) -> Iterator[Secured]:
    """Start the broker; the super user is ADMIN alone, beside the broker itself by its certificate."""
    _make_certificates(directory)
    scram = []
    for user in (ADMIN, *users):
        (directory / f"{user}.password").write_text(f"sentinel-password-{user}\n")
        scram += ["--add-scram", f"SCRAM-SHA-512=[name={user},password=sentinel-password-{user}]"]
    with Broker(listeners=LISTENERS, options=_options(directory), format_arguments=scram) as broker:
        yield Secured(broker, directory)


def acl(right: Right, user: str) -> ACL:
    """The ACL that grants a user this right and no more."""
    kind = ResourceType[right.kind.upper().replace(" ", "_")]
    how = ACLResourcePatternType.PREFIXED if right.prefixed else ACLResourcePatternType.LITERAL
    resource = ResourcePattern(kind, right.name, how)
    return ACL(f"User:{user}", "*", ACLOperation[right.operation], ACLPermissionType.ALLOW, resource)


@contextmanager
def revoked(admin: KafkaAdminClient, right: Right, user: str) -> Iterator[None]:
    """Take a right from a user for a while."""
    admin.delete_acls([acl(right, user)])
    try:
        yield
    finally:
        admin.create_acls([acl(right, user)])


def _options(directory: Path) -> dict[str, str]:
    jaas = f'{_SCRAM} required username="{ADMIN}" password="sentinel-password-{ADMIN}";'
    stores = {"": "broker", "listener.name.stranger.": "stranger", "listener.name.expired.": "expired"}
    return {
        **{f"{prefix}ssl.keystore.location": f"{directory}/{name}.pem" for prefix, name in stores.items()},
        **{f"{prefix}ssl.keystore.type": "PEM" for prefix in stores},
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": f"{directory}/ca.pem",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        **{
            f"listener.name.{listener.lower()}.scram-sha-512.sasl.jaas.config": jaas
            for listener, protocol in LISTENERS.items()
            if protocol == "SASL_SSL"
        },
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN};User:broker",
    }


def _make_certificates(directory: Path) -> None:
    ca, past = trustme.CA(), datetime.now(UTC) - timedelta(days=1)
    ca.cert_pem.write_to_path(directory / "ca.pem")
    trustme.CA().cert_pem.write_to_path(directory / "other-ca.pem")
    for name, certificate in {
        "broker": ca.issue_cert("127.0.0.1", common_name="broker"),
        "stranger": ca.issue_cert("elsewhere.example", common_name="broker"),
        "expired": ca.issue_cert("127.0.0.1", common_name="broker", not_after=past),
        "client": ca.issue_cert("sampler@example.org", common_name="certified"),
    }.items():
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        if name == "client":
            (directory / "client.pem").write_bytes(chain)
            (directory / "client.key").write_bytes(_key(certificate, PASSPHRASE))
        else:
            (directory / f"{name}.pem").write_bytes(_key(certificate) + chain)


def _key(certificate: trustme.LeafCert, passphrase: str | None = None) -> bytes:
    """The private key as PKCS #8, the only form that Kafka reads."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), password=None)
    lock = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
