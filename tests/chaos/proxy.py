"""A TCP proxy between the service and the brokers: connections cut, stalled, half-open or slow.

One event loop on a thread of its own; its methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["TROUBLES", "Proxy", "Trouble"]

Trouble = Literal["cut", "stall", "half-open", "slow"]
TROUBLES: tuple[Trouble, ...] = ("cut", "stall", "half-open", "slow")

_CHUNK = 65_536
_SLOW_SECONDS = 0.25  # added to every chunk
_SLOW_BYTES = 100_000  # a second


@dataclass(eq=False)
class _Link:
    """One connection of the service to a broker."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    trouble: Trouble | None = None
    lost: bool = False  # bytes were swallowed: it cannot go on when the trouble ends
    clear: asyncio.Event = field(default_factory=asyncio.Event)

    def suffer(self, trouble: Trouble) -> None:
        if trouble == "cut":
            self.abort()
            return
        self.trouble = trouble
        self.clear.clear()

    def heal(self) -> None:
        self.trouble = None
        self.clear.set()
        if self.lost:
            self.abort()

    def abort(self) -> None:
        for writer in (self.client, self.broker):
            writer.transport.abort()


class Proxy:
    """Forwards ports of loopback to others; a context manager.

    Parameters
    ----------
    routes : mapping of int to int
        From the port that is listened on to the broker's.
    rng : Random
        Which connections suffer.
    """

    def __init__(self, routes: Mapping[int, int], rng: random.Random) -> None:
        self._routes = dict(routes)
        self._rng = rng
        self._links: set[_Link] = set()
        self._trouble: tuple[Trouble, float] | None = None  # what befalls new connections, and what share
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def strike(self, trouble: Trouble, share: float) -> int:
        """Trouble a share of the connections, and of those that follow until :meth:`heal`; how many now."""

        async def now() -> int:
            self._trouble = None if trouble == "cut" else (trouble, share)
            struck = [link for link in self._links if self._rng.random() < share]
            for link in struck:
                link.suffer(trouble)
            return len(struck)

        return asyncio.run_coroutine_threadsafe(now(), self._loop).result(10)

    def heal(self) -> None:
        """End the trouble; connections that lost bytes are closed, others go on where they were."""

        def now() -> None:
            self._trouble = None
            for link in list(self._links):
                link.heal()

        self._loop.call_soon_threadsafe(now)

    async def _listen(self) -> None:
        for port, target in self._routes.items():

            async def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int = target
            ) -> None:
                await self._serve(reader, writer, target)

            await asyncio.start_server(accept, "127.0.0.1", port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        try:
            answers, broker = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, broker)
        self._links.add(link)
        if self._trouble is not None and self._rng.random() < self._trouble[1]:
            link.suffer(self._trouble[0])
        pumps = [
            asyncio.create_task(_pump(reader, broker, link, answers=False)),
            asyncio.create_task(_pump(answers, writer, link, answers=True)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        link.abort()
        link.clear.set()
        await asyncio.wait(pumps)
        self._links.discard(link)

    async def _end(self) -> None:
        for link in list(self._links):
            link.abort()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link, *, answers: bool
) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            if link.trouble == "stall":
                await link.clear.wait()
            if link.trouble == "half-open" and answers:
                link.lost = True
                continue
            if link.trouble == "slow":
                await asyncio.sleep(_SLOW_SECONDS + len(data) / _SLOW_BYTES)
            writer.write(data)
            await writer.drain()
