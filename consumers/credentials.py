"""Passwords, keys and certificates: read, kept out of sight, and what the brokers' refusal of them means."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from consumers.errors import ServiceError
from consumers.sections import Kafka

__all__ = ["Hidden", "credentials", "explain_refusal", "verify"]

_WITH_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")
# What the client's log says when waiting will not help, and what then has to be mended.
_REFUSALS = {
    "AuthenticationFailed": "kafka.sasl_username or the password is wrong",
    "UnsupportedSaslMechanism": "they do not speak kafka.sasl_mechanism",
    "certificate is not valid for": "their certificate is for another host than we asked; call them in "
    "kafka.bootstrap_servers and advertised.listeners as it does",
    "certificate has expired": "their certificate has expired; renew it",
    "certificate is not yet valid": "their certificate is not valid yet; set the clocks right",
    "certificate verify failed": "their certificate is not from an authority in kafka.ssl_cafile",
    "CERTIFICATE_REQUIRED": "they want a certificate from us; set kafka.ssl_certfile and ssl_keyfile",
    "ALERT_UNKNOWN_CA": "they do not trust the authority of our kafka.ssl_certfile",
    "ALERT_CERTIFICATE_EXPIRED": "the certificate in our kafka.ssl_certfile has expired; renew it",
    "CERTIFICATE_": "they do not take the certificate in kafka.ssl_certfile",
    "ALERT_BAD_CERTIFICATE": "they do not take the certificate in kafka.ssl_certfile",
    "WRONG_VERSION_NUMBER": "they do not speak TLS there; correct kafka.security_protocol",
    "ALERT_": "TLS with them fails; check kafka.security_protocol and the certificates",
}


class Hidden(str):
    """Text that a listing of options does not show: the client logs its own at level debug.

    Examples
    --------
    >>> {"password": Hidden("secret")}, Hidden("secret") == "secret"
    ({'password': '**********'}, True)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"


def credentials(kafka: Kafka) -> dict[str, Any]:
    """The options of the client that say who we are and whom we trust; a file is read at every call."""
    password = kafka.password()
    named = {
        "security_protocol": kafka.security_protocol,
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": None if password is None else Hidden(password),
        "ssl_cafile": _path(kafka.ssl_cafile),
        "ssl_certfile": _path(kafka.ssl_certfile),
        "ssl_keyfile": _path(kafka.ssl_keyfile),
    }
    return {option: value for option, value in named.items() if value is not None}


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def verify(options: Mapping[str, Any]) -> None:
    """Look at what the options of a client bring to log in, and load the PEM files that they name.

    Raises
    ------
    ServiceError
        When something is missing or cannot be used: the client would only say that the brokers are lost, and
        for a missing passphrase it would ask the terminal.
    """
    protocol, mechanism = options["security_protocol"], options.get("sasl_mechanism")
    login = options.get("sasl_plain_username"), options.get("sasl_plain_password")
    if protocol.startswith("SASL") and mechanism in _WITH_PASSWORD and None in login:
        raise ServiceError(f"{mechanism} needs kafka.sasl_username and kafka.sasl_password_file.")
    if protocol.endswith("SSL"):
        _verify_files(options)


def _verify_files(options: Mapping[str, Any]) -> None:
    for option in _FILES:
        _read(option, options.get(option))
    context, passphrase = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), options.get("ssl_password") or ""
    if options.get("ssl_cafile"):
        try:
            context.load_verify_locations(options["ssl_cafile"])
        except ssl.SSLError:
            raise ServiceError(
                f"kafka.ssl_cafile {options['ssl_cafile']} holds no certificate in PEM."
            ) from None
    if options.get("ssl_certfile"):
        try:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), lambda: passphrase)
        except (ssl.SSLError, ValueError) as error:
            raise ServiceError(_of_our_key(error)) from None


def _read(option: str, path: str | None) -> None:
    try:
        if path:
            Path(path).read_bytes()
    except OSError as error:
        raise ServiceError(f"kafka.{option} {path} cannot be read: {error.strerror}.") from None


def _of_our_key(error: Exception) -> str:
    if "KEY_VALUES_MISMATCH" in str(error):
        return "kafka.ssl_keyfile does not hold the key of the certificate in kafka.ssl_certfile."
    return (
        "kafka.ssl_certfile and kafka.ssl_keyfile do not hold a certificate and its key in PEM, or the "
        "passphrase of the key (kafka.options.ssl_password) is missing or wrong."
    )


def explain_refusal(words: Iterable[str]) -> str | None:
    """What a person must mend, by what the client's log said; None where waiting may help.

    Examples
    --------
    >>> explain_refusal(["Connection lost", "... certificate has expired (_ssl.c:1006)"])
    'their certificate has expired; renew it (certificate has expired)'
    """
    said = "\n".join(words)
    return next((f"{what} ({sign})" for sign, what in _REFUSALS.items() if sign in said), None)
