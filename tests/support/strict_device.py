"""A stand-in for CuPy that computes with NumPy and mixes with it as little as CuPy does.

It finds, on a machine without a GPU, where host and device arrays meet, and the functions that CuPy lacks.
It says nothing about CuPy's numbers or speed: the tests marked `gpu` do.
"""

from __future__ import annotations

import importlib.machinery
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np

# What the library may use, all of it in CuPy 14 under the same name and with the same arguments.
_FUNCTIONS = (
    *("abs", "arange", "argmin", "ascontiguousarray", "dot", "empty", "flatnonzero", "full", "maximum"),
    *("median", "minimum", "sqrt", "subtract", "where", "zeros"),
)
_METHODS = ("all", "any", "argmin", "astype", "max", "mean", "min", "ravel", "reshape", "sum")
_OPERATORS = ("add", "and", "floordiv", "ge", "gt", "le", "lt", "mul", "or", "sub", "truediv")


def _host(value: Any) -> Any:
    """The NumPy array behind a device array; no NumPy array may come in its place."""
    if isinstance(value, tuple):
        return tuple(_host(part) for part in value)
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value.held if isinstance(value, ndarray) else value


def _device(value: Any) -> Any:
    return ndarray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        given = {name: _host(value) for name, value in options.items()}
        found = _device(function(*map(_host, arguments), **given))
        return options.get("out", found) if options.get("out") is not None else found

    return call


class ndarray:  # noqa: N801 - CuPy's name
    """An array that NumPy cannot read."""

    __array_ufunc__ = None  # NumPy leaves operators to us, and we refuse

    def __init__(self, held: np.ndarray) -> None:
        self.held = held

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def get(self) -> np.ndarray:
        """A copy on the host."""
        return self.held.copy()

    def __getitem__(self, key: Any) -> Any:
        return _device(self.held[_host(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.held[_host(key)] = _host(value)

    def __len__(self) -> int:
        return len(self.held)

    def __bool__(self) -> bool:
        return bool(self.held)

    def __neg__(self) -> Any:
        return _device(-self.held)

    def __isub__(self, other: Any) -> Any:
        self.held -= _host(other)
        return self

    @property
    def T(self) -> Any:  # noqa: N802 - CuPy's name
        """Transposed."""
        return _device(self.held.T)


for _name in ("shape", "ndim", "size", "dtype", "flags"):
    setattr(ndarray, _name, property(operator.attrgetter(f"held.{_name}")))
for _name in _METHODS:
    setattr(ndarray, _name, _wrapped(getattr(np.ndarray, _name)))
for _name in _OPERATORS:
    setattr(ndarray, f"__{_name}__", _wrapped(getattr(operator, f"__{_name}__")))
for _name in ("add", "mul", "sub", "truediv"):
    _function = getattr(operator, _name)
    setattr(ndarray, f"__r{_name}__", _wrapped(lambda a, b, f=_function: f(b, a)))
ndarray.__module__ = "cupy"


def _asarray(a: Any, dtype: Any = None) -> Any:
    """The only way from the host to the device."""
    return ndarray(np.array(a.held if isinstance(a, ndarray) else a, dtype=dtype))


def strict_device() -> types.ModuleType:
    """A module to put in the place of ``cupy``."""
    module = types.ModuleType("cupy")
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    module.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=lambda: 1))  # type: ignore[attr-defined]
    names = {name: _wrapped(getattr(np, name)) for name in _FUNCTIONS}
    scalars = {name: getattr(np, name) for name in ("float32", "float64", "int64", "inf", "nan")}
    for name, value in {**names, **scalars, "asarray": _asarray, "ndarray": ndarray}.items():
        setattr(module, name, value)
    return module
