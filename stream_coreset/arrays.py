"""Arrays of one kind or the other, NumPy or CuPy, behind one name; checked inputs; labelled random streams.

CuPy is imported here and nowhere else, and only when a device or a device array is asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST_VALUE",
    "Array",
    "Device",
    "check_losses",
    "check_points",
    "check_weights",
    "namespace",
    "random_stream",
    "resolve_device",
    "to_host",
    "usable_rows",
]

Array: TypeAlias = Any
"""A NumPy or a CuPy array. They share no static type, hence ``Any``."""

LARGEST_VALUE = 1e15
"""Largest magnitude of a coordinate: sums of squared distances then stay finite in float32."""

_ADVICE = f"remove or repair it (values must be finite and at most {LARGEST_VALUE:g} in magnitude)"


def _is_cupy(a: object) -> bool:
    return type(a).__module__.partition(".")[0] == "cupy"


def namespace(*arrays: object) -> Any:
    """The module whose functions fit these arrays: ``cupy`` if any of them is a CuPy array, else ``numpy``.

    Examples
    --------
    >>> namespace(np.zeros(3)).__name__
    'numpy'
    """
    return importlib.import_module("cupy") if any(map(_is_cupy, arrays)) else np


def to_host(a: Array) -> NDArray[Any]:
    """The array as a NumPy array: copied when it lies on a device, as it is otherwise."""
    return np.asarray(a.get() if _is_cupy(a) else a)


@dataclass(frozen=True)
class Device:
    """Where large arrays live.

    Attributes
    ----------
    name : str
        ``"cpu"`` or ``"cuda"``.
    """

    name: str

    @property
    def xp(self) -> Any:
        """The array module: ``numpy`` or ``cupy``."""
        return np if self.name == "cpu" else importlib.import_module("cupy")

    def put(self, a: Array) -> Array:
        """The array on this device; copied only when it lies elsewhere."""
        return to_host(a) if self.name == "cpu" else self.xp.asarray(a)


def _why_no_cuda() -> str | None:
    """One sentence why CUDA cannot be used, or None when it can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (install the extra cuda12 or cuda13)"
    try:
        count = importlib.import_module("cupy").cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own types here, and ImportError for missing libraries
        return f"CuPy finds no usable driver ({error})"
    return None if count > 0 else "this machine has no CUDA device"


def resolve_device(name: str) -> Device:
    """The device of that name.

    Parameters
    ----------
    name : {"cpu", "cuda", "auto"}
        ``"auto"`` takes CUDA where it can be used.

    Raises
    ------
    ValueError
        The name is none of the three.
    RuntimeError
        ``"cuda"`` was asked for and cannot be used; the sentence says why.

    Examples
    --------
    >>> resolve_device("cpu").name
    'cpu'
    """
    if name not in ("cpu", "cuda", "auto"):
        raise ValueError(f"device is {name!r}; choose cpu, cuda or auto")
    reason = None if name == "cpu" else _why_no_cuda()
    if name == "cuda" and reason is not None:
        raise RuntimeError(f"device cuda cannot be used: {reason}; choose device cpu or auto")
    return Device("cpu" if name == "cpu" or reason is not None else "cuda")


def _encoded(label: int | bytes | str) -> bytes:
    if isinstance(label, bytes):
        kind, data = b"b", label
    elif isinstance(label, str):
        kind, data = b"s", label.encode()
    else:
        kind, data = b"i", str(int(label)).encode()
    return kind + len(data).to_bytes(8, "big") + data


def random_stream(seed: int | bytes | str, *labels: str | int) -> np.random.Generator:
    """A random generator of its own for each purpose, repeatable from one seed.

    Streams of different labels are independent; equal labels repeat the same stream. Labels are hashed with
    their types and lengths, so ``("a", "bc")`` and ``("ab", "c")`` differ.

    Parameters
    ----------
    seed : int, bytes or str
        The secret that all streams of a program share.
    *labels : str or int
        What the stream is for, such as purpose, topic, partition and offset.

    Examples
    --------
    >>> a, b = random_stream(1, "draw", 7), random_stream(1, "draw", 7)
    >>> bool(a.random() == b.random())
    True
    >>> bool(random_stream(1, "draw").random() == random_stream(1, "adapt").random())
    False
    """
    digest = hashlib.sha256(b"".join(_encoded(part) for part in (seed, *labels))).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(digest, "big"))))


def usable_rows(X: Array) -> Array:
    """Which rows hold only finite values of at most `LARGEST_VALUE` in magnitude: boolean, shape (n,)."""
    xp = namespace(X)
    return (xp.abs(X) <= LARGEST_VALUE).all(axis=1)


def _as_floats(a: Array, name: str) -> Array:
    xp = namespace(a)
    try:
        a = xp.asarray(a)
        dtype = {"f2": xp.float32, "f4": xp.float32}.get(a.dtype.str[1:], xp.float64)
        if a.dtype.kind not in "fiub":
            raise TypeError(f"dtype {a.dtype}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not hold real numbers ({error}); pass float32 or float64") from None
    return xp.ascontiguousarray(a, dtype=dtype)


def _check_shape(X: Array, name: str, n_features: int | None) -> None:
    if X.ndim != 2:
        raise ValueError(f"{name} has {X.ndim} dimensions; pass one row per point, shape (n, d)")
    if X.shape[0] == 0 or X.shape[1] == 0:
        raise ValueError(f"{name} is empty, shape {X.shape}; pass at least one point of one feature")
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(f"{name} has {X.shape[1]} features, expected {n_features}; keep to one embedding")


def check_points(X: Array, name: str = "X", n_features: int | None = None) -> Array:
    """Points as a contiguous float32 or float64 array of shape (n, d).

    float32 and float64 are kept, float16 becomes float32, integers become float64.

    Parameters
    ----------
    X : array_like, shape (n, d)
        NumPy or CuPy.
    name : str
        The argument's name, for the message.
    n_features : int, optional
        The d that is expected.

    Raises
    ------
    ValueError
        Not numbers, not two-dimensional, empty, another d, or a value that is not finite (or beyond
        `LARGEST_VALUE`); it names the argument, the first bad row and what to do.

    Examples
    --------
    >>> check_points([[1.0, float("nan")]])
    Traceback (most recent call last):
        ...
    ValueError: X has a value that is not usable in row 0: remove or repair it (values must be finite and \
at most 1e+15 in magnitude)
    """
    X = _as_floats(X, name)
    _check_shape(X, name, n_features)
    if not bool((X.max() <= LARGEST_VALUE) & (X.min() >= -LARGEST_VALUE)):  # NaN compares false
        row = int(to_host(usable_rows(X)).argmin())
        raise ValueError(f"{name} has a value that is not usable in row {row}: {_ADVICE}")
    return X


def _check_nonnegative(values: Array, n: int, name: str) -> NDArray[np.float64]:
    v = np.asarray(_as_floats(to_host(values), name), dtype=np.float64)
    if v.shape != (n,):
        raise ValueError(f"{name} has shape {v.shape}, expected ({n},); pass one value per row")
    good = (v >= 0) & np.isfinite(v)
    if not good.all():
        row = int(good.argmin())
        raise ValueError(f"{name} is {v[row]} in row {row}; pass values that are finite and not negative")
    return v


def check_weights(weights: Array | None, n: int, name: str = "sample_weight") -> NDArray[np.float64]:
    """Weights as float64 on the host, shape (n,), finite and not negative; ones for None.

    Raises
    ------
    ValueError
        Wrong shape, or a weight that is negative or not finite; it names the argument and the row.
    """
    return np.ones(n) if weights is None else _check_nonnegative(weights, n, name)


def check_losses(losses: Array, n: int, name: str = "loss") -> NDArray[np.float64]:
    """Losses as float64 on the host, shape (n,), finite and not negative.

    Raises
    ------
    ValueError
        Wrong shape, or a loss that is negative or not finite; it names the argument and the row.
    """
    return _check_nonnegative(losses, n, name)
