"""A circuit breaker: after several failures in a row an endpoint is left alone, then tried once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

__all__ = ["CircuitBreaker"]


class CircuitBreaker:
    """Closed while calls succeed, open for `cool_down` after `failures` in a row, then half-open: one trial.

    A trial that succeeds closes the circuit, one that fails opens it again. Made for calls from one thread.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    failures : int
        Failed calls in a row that open the circuit.
    cool_down : float
        Seconds for which it stays open.

    Examples
    --------
    >>> now = 0.0
    >>> breaker = CircuitBreaker(lambda: now, failures=1, cool_down=5.0)
    >>> breaker.failed(); breaker.state
    'open'
    >>> now = 5.0; breaker.state
    'half-open'
    >>> breaker.succeeded(); breaker.state
    'closed'
    """

    def __init__(self, clock: Callable[[], float], *, failures: int = 3, cool_down: float = 10.0) -> None:
        self._clock, self._limit, self._cool_down = clock, failures, cool_down
        self._failures = 0
        self._opened: float | None = None

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Whether calls may be made: open means no."""
        if self._opened is None:
            return "closed"
        return "open" if self.remaining > 0 else "half-open"

    @property
    def remaining(self) -> float:
        """Seconds until a call may be tried."""
        return 0.0 if self._opened is None else max(0.0, self._opened + self._cool_down - self._clock())

    def succeeded(self) -> None:
        """Note a call that succeeded."""
        self._failures, self._opened = 0, None

    def failed(self) -> None:
        """Note a call that failed."""
        self._failures += 1
        if self._failures >= self._limit:
            self._opened = self._clock()
