"""The model endpoint: examples and embeddings out, losses back (Open Inference Protocol v2 over HTTP).

The endpoint is somebody else's program: its time and the size of its answers are limited, its failures are
retried within a deadline and then left alone for a while, and no loss is used that cannot be one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import numpy as np
import stamina
from numpy.typing import NDArray

from consumers.endpoint.circuit import CircuitBreaker
from consumers.endpoint.exchange import EndpointError, authorization, read_answer, read_error, tls_context
from consumers.endpoint.inference import (
    HEADER_LENGTH,
    Answer,
    RefusalError,
    Request,
    decode_answer,
    encode_request,
)
from consumers.settings import Endpoint

__all__ = ["CircuitOpen", "EndpointError", "EndpointObserver", "ModelEndpoint"]

Floats = NDArray[np.floating[Any]]

_ROUNDS = 3  # times that batches answered by another model version are asked again


class CircuitOpen(EndpointError):  # noqa: N818  (a state, as it is called everywhere)
    """The endpoint failed several times in a row and is left alone for a while."""

    def __init__(self, seconds: float) -> None:
        super().__init__("open", f"The model endpoint keeps failing; it is tried again in {seconds:.0f} s.")


class EndpointObserver(Protocol):
    """Who counts what happens (`metrics.EndpointMetrics`)."""

    def request(self, outcome: str, seconds: float) -> None:
        """One attempt ended: ok, refused, an HTTP status, timeout, connect; or none was made: open."""

    def circuit(self, is_open: bool) -> None:
        """The state of the circuit breaker."""

    def queried(self, losses: int) -> None:
        """Losses were asked for, in one attempt."""

    def refuse(self, reason: str, losses: int = 1) -> None:
        """Losses that came back were not believed."""


@dataclass(frozen=True)
class _Batch:
    request: Request
    n: int


class ModelEndpoint:
    """The losses of real examples, asked of a model behind the Open Inference Protocol.

    Made for calls from one thread, which may block for `settings.deadline_seconds`.

    Parameters
    ----------
    settings : Endpoint
        `url` must be given.
    observer : EndpointObserver, optional
        Counts requests, refusals and the state of the circuit breaker.
    clock : callable
        Seconds, monotonic; for the circuit breaker.

    Raises
    ------
    ValueError
        Where no url is given.
    ServiceError
        Where `settings.ca_file` cannot be used.
    """

    def __init__(
        self,
        settings: Endpoint,
        observer: EndpointObserver | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.url is None:
            raise ValueError("endpoint.url is not set: there is no model to ask.")
        self.breaker = CircuitBreaker(clock)
        self._settings, self._observer = settings, observer
        self._model = f"{str(settings.url).rstrip('/')}/v2/models/{quote(settings.model, safe='')}"
        self._tls = tls_context(settings.ca_file)

    def losses(self, examples: Sequence[bytes], embeddings: Floats) -> tuple[NDArray[np.float64], str]:
        """Ask the model for the losses of n examples, all under one version of it.

        Parameters
        ----------
        examples : sequence of n bytes
            Each example as it came from its topic.
        embeddings : (n, d) float
            Sent as float32.

        Returns
        -------
        values : (n,) float64
            **NaN where a single loss was refused** (it was NaN, infinite or negative): leave that one out.
            So one example that breaks the model does not cost the losses of all others.
        model_version : str
            Empty when the model does not state it.

        Raises
        ------
        EndpointError
            When no answer came within the deadline, when one cannot be used as a whole, or when the model
            changed its version so often that answers under one version could not be had.
        CircuitOpen
            Without asking, for a while after several failures in a row.
        """
        if len(examples) != len(embeddings):
            raise ValueError(f"{len(examples)} examples but {len(embeddings)} embeddings.")
        if not examples:
            return np.empty(0), ""
        with self._guarded():
            answers = asyncio.run(self._within_deadline(self._batches(examples, embeddings)))
        return np.concatenate([answer.values for answer in answers]), answers[0].model_version

    def check(self) -> None:
        """Ask once whether the model is ready; raises EndpointError with the reason when it is not."""
        asyncio.run(self._ready())

    async def _ready(self) -> None:
        async with self._client() as client:
            await self._attempt(client, None)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        if self.breaker.state == "open":
            self._count("request", "open", 0.0)
            raise CircuitOpen(self.breaker.remaining)
        try:
            yield
        except EndpointError:
            self.breaker.failed()
            raise
        else:
            self.breaker.succeeded()
        finally:
            self._count("circuit", self.breaker.state != "closed")

    def _batches(self, examples: Sequence[bytes], embeddings: Floats) -> list[_Batch]:
        size, binary = self._settings.batch, self._settings.binary
        parts = [slice(start, start + size) for start in range(0, len(examples), size)]
        return [
            _Batch(encode_request(examples[part], embeddings[part], binary=binary), len(examples[part]))
            for part in parts
        ]

    async def _within_deadline(self, batches: Sequence[_Batch]) -> list[Answer]:
        seconds = self._settings.deadline_seconds
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until), self._client() as client:
                return await self._ask_all(client, batches, until)
        except TimeoutError:
            raise EndpointError("timeout", f"The model did not answer within {seconds:g} s.") from None

    async def _ask_all(
        self, client: httpx.AsyncClient, batches: Sequence[_Batch], until: float
    ) -> list[Answer]:
        answers = [await self._ask(client, batch, until) for batch in batches]
        latest = answers[-1].model_version
        for _ in range(_ROUNDS):
            stale = [i for i, answer in enumerate(answers) if answer.model_version != latest]
            if not stale:
                return answers
            for i in stale:  # the model was replaced between two batches
                answers[i] = await self._ask(client, batches[i], until)
                latest = answers[i].model_version
        raise EndpointError("model_version", "The model's version changed at every answer; none was used.")

    async def _ask(self, client: httpx.AsyncClient, batch: _Batch, until: float) -> Answer:
        attempts = 1 if self.breaker.state == "half-open" else self._settings.attempts
        async for attempt in stamina.retry_context(
            _pause(until), attempts=attempts, timeout=None, wait_max=5.0, wait_jitter=0.5
        ):
            with attempt:
                self._count("queried", batch.n)
                return await self._attempt(client, batch)
        raise AssertionError("unreachable")

    async def _attempt(self, client: httpx.AsyncClient, batch: _Batch | None) -> Answer:
        began, outcome, seconds = time.monotonic(), "timeout", self._settings.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                answer = await (self._infer(client, batch) if batch else self._ask_ready(client))
            outcome = "ok"
            return answer
        except TimeoutError:
            raise EndpointError("timeout", f"The model did not answer within {seconds:g} s.") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:  # a Location may be anything
            outcome = "connect"
            raise EndpointError(outcome, f"The model endpoint cannot be reached: {error}") from error
        except RefusalError as error:
            outcome = "refused"
            self._count("refuse", error.reason, batch.n if batch else 1)
            raise EndpointError(error.reason, f"The model's answer was refused: {error}.") from error
        except EndpointError as error:
            outcome = error.reason
            raise
        finally:
            self._count("request", outcome, time.monotonic() - began)

    async def _infer(self, client: httpx.AsyncClient, batch: _Batch) -> Answer:
        headers = {**batch.request.headers, **authorization(self._settings.token_file)}
        url, content = f"{self._model}/infer", batch.request.body
        async with client.stream("POST", url, content=content, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise await read_error(response)
            body = await read_answer(response, self._settings.max_response_bytes)
        answer = decode_answer(body, response.headers.get(HEADER_LENGTH), batch.n)
        for reason, count in answer.refused.items():
            self._count("refuse", reason, count)
        return answer

    async def _ask_ready(self, client: httpx.AsyncClient) -> Answer:
        headers = authorization(self._settings.token_file)
        async with client.stream("GET", f"{self._model}/ready", headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise await read_error(response)
        return Answer(np.empty(0), "", {})

    def _client(self) -> httpx.AsyncClient:
        # No proxy, .netrc or redirect: examples and the token go to the configured host and nowhere else.
        return httpx.AsyncClient(
            verify=self._tls,
            timeout=None,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "stream-coreset"},
        )

    def _count(self, what: str, *values: Any) -> None:
        if self._observer is not None:
            getattr(self._observer, what)(*values)


def _pause(until: float) -> Callable[[Exception], bool | float]:
    """Whether to ask again after an error, and when: by Retry-After, if that is before the deadline."""

    def pause(error: Exception) -> bool | float:
        if not isinstance(error, EndpointError) or not error.transient:
            return False
        if error.retry_after is None:
            return True
        seconds = error.retry_after + random.uniform(0.0, 0.2)
        return seconds if asyncio.get_running_loop().time() + seconds < until else False

    return pause
