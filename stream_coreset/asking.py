"""Asking a model for losses of real examples, and refusing answers that are no losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import to_host
from stream_coreset.losses import MAX_LOSS
from stream_coreset.onnx_model import installed

__all__ = [
    "LossFunction",
    "ask",
    "check_holder",
    "check_loss",
    "check_max_queries",
    "check_surrogate",
    "learns",
]

LossFunction: TypeAlias = Callable[[NDArray[np.int64]], object]
"""From rows of X, int64 of shape (m,), to their losses, shape (m,)."""

_ADVICE = "mend the model, or leave the example out before you pass X"


def ask(loss: LossFunction, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The losses of some rows of X, checked.

    Parameters
    ----------
    loss : callable
        Called once, with a copy of the rows; not called for no rows.
    rows : (m,) int64
        Rows of X.

    Returns
    -------
    (m,) float64

    Raises
    ------
    ValueError
        The answer has another shape, is not numeric, or a loss is negative, NaN or above 1e100; it names
        the row of X.

    Examples
    --------
    >>> ask(lambda rows: rows / 10, np.array([3, 8]))
    array([0.3, 0.8])
    >>> ask(lambda rows: rows - 5.0, np.array([3, 8]))
    Traceback (most recent call last):
        ...
    ValueError: loss is -2.0 for row 3 of X, not a number from 0 to 1e+100; mend the model, or leave the \
example out before you pass X
    """
    if len(rows) == 0:
        return np.zeros(0)
    values = _numbers(loss(rows.copy()))
    if values.shape != rows.shape:
        raise ValueError(
            f"loss returned shape {values.shape} for {len(rows)} rows; return one loss for each, in order"
        )
    good = (values >= 0) & (values <= MAX_LOSS)
    if not good.all():
        first = int(np.argmin(good))
        raise ValueError(
            f"loss is {values[first]} for row {rows[first]} of X, not a number from 0 to {MAX_LOSS:g}; "
            + _ADVICE
        )
    return values


def _numbers(answer: object) -> NDArray[np.float64]:
    try:
        return np.asarray(to_host(answer), np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"loss returned no numbers ({error}); return an array of one loss for each row"
        ) from None


def check_loss(loss: object) -> None:
    """Refuse what cannot be asked, such as an array of losses."""
    if loss is not None and not callable(loss):
        raise ValueError(
            f"loss is a {type(loss).__name__}; pass a function from rows to losses, for instance "
            "`lambda rows: losses[rows]`, or None"
        )


def check_holder(holder: float | None) -> None:
    """Refuse a fixed Hölder constant that is none."""
    if holder is not None and not 0 <= holder < np.inf:
        raise ValueError(f"holder is {holder}; pass a finite constant of 0 or more, or None to estimate it")


def check_max_queries(max_queries: int | None) -> None:
    """Refuse a negative query budget."""
    if max_queries is not None and not max_queries >= 0:
        raise ValueError(f"max_queries is {max_queries}; pass 0 or more losses to ask, or None for no limit")


def check_surrogate(surrogate: str | None, epsilon: float | None, probes: int) -> None:
    """Refuse a surrogate that there is not, or that cannot be used with the rest."""
    if surrogate not in (None, "auto", "trees"):
        raise ValueError(f"surrogate is {surrogate!r}; pass 'auto', 'trees' or None")
    if surrogate != "trees":
        return
    if not installed():
        raise ValueError("surrogate is 'trees'; install the extra: stream-coreset[surrogate], or pass 'auto'")
    if epsilon is not None or probes == 1:
        raise ValueError(
            "surrogate is 'trees', which learns from several probes a cluster and has no bound by epsilon; "
            "pass probes above 1 and a size or rate, or surrogate None"
        )


def learns(surrogate: str | None, epsilon: float | None, probes: int) -> bool:
    """Whether the losses of all rows are to be learned from the probes."""
    return surrogate == "trees" or (surrogate == "auto" and installed() and epsilon is None and probes > 1)
