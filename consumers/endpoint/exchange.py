"""Around one HTTP exchange with the model endpoint: what is sent, how much is read, what a status means."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from consumers.endpoint.inference import RefusalError
from consumers.errors import ServiceError

__all__ = ["EndpointError", "authorization", "read_answer", "read_error", "retry_after", "tls_context"]

_TOKEN_BYTES = 65_536
_ERROR_BYTES = 2_000
_SENTENCE_CHARACTERS = 600


class EndpointError(Exception):
    """No losses this time; those known stay in use.

    `reason` is connect, timeout, token, model_version, open (the circuit), an HTTP status, or what was wrong
    with the answer: malformed, shape, too_large, nan, infinite, negative. `retry_after` is what the endpoint
    asked for, in seconds.
    """

    def __init__(self, reason: str, sentence: str, retry_after: float | None = None) -> None:
        super().__init__(" ".join(sentence.split())[:_SENTENCE_CHARACTERS])  # it repeats what was answered
        self.reason = reason
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether asking again may help."""
        return self.reason in ("connect", "timeout", "429") or self.reason.startswith("5")


def authorization(token_file: Path | None) -> dict[str, str]:
    """Header with the bearer token; the file is read each time, since tokens are rotated in place."""
    if token_file is None:
        return {}
    try:
        with token_file.open("rb") as file:
            token = file.read(_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EndpointError("token", f"The token file {token_file} cannot be read: {error}") from error
    if not token or not token.isprintable():
        raise EndpointError("token", f"The token file {token_file} holds no token.")
    return {"Authorization": f"Bearer {token}"}


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the authorities of a PEM file; without one the usual ones, or those that SSL_CERT_FILE names."""
    if ca_file is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ServiceError(f"endpoint.ca_file {ca_file} cannot be used: {error}.") from None


async def read_answer(response: httpx.Response, limit: int) -> bytes:
    """Read a body of at most `limit` bytes; a longer or a compressed one (it may be a bomb) is refused."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise RefusalError("malformed", "it is compressed, which was not asked for")
    body = await _read(response, limit)
    if len(body) > limit:
        raise RefusalError("too_large", f"it is longer than {limit:,} bytes")
    return body


async def _read(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


async def read_error(response: httpx.Response) -> EndpointError:
    """What a status other than 200 means, with the beginning of what the endpoint said."""
    status, location = response.status_code, response.headers.get("Location", "")
    said = (await _read(response, _ERROR_BYTES)).decode("utf-8", "replace")
    answer = f"{_shown(response.reason_phrase, response):.50}: {_shown(said, response)[:200]!r}"
    sentence = f"The model endpoint answered {status} {answer}"
    if response.is_redirect:
        where = f"{_shown(location, response)!r:.200}"
        sentence = f"The model endpoint redirects to {where}: set endpoint.url to where it is."
    return EndpointError(str(status), sentence, retry_after(response.headers.get("Retry-After")))


def _shown(said: str, response: httpx.Response) -> str:
    """What an endpoint said, without our token: some repeat in an error the headers that they got."""
    token = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
    return said.replace(token, "**********") if token else said


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header (RFC 9110, section 10.2.3: seconds or a date) asks for.

    Examples
    --------
    >>> retry_after("120"), retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), retry_after("soon")
    (120.0, 0.0, None)
    """
    if header is None:
        return None
    seconds = header.strip()
    if seconds.isdecimal():
        return float(seconds)
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # years and offsets of thirty digits overflow
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
