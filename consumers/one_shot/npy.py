"""Selections from .npy files; nothing in them is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.errors import ServiceError
from consumers.one_shot.files import Selected, check_size, new_file

__all__ = ["NpyFile", "read_losses"]


class NpyFile:
    """A `Source`: an array of shape (n, d).

    Raises
    ------
    ServiceError
        For a file that is no such array.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._array = _mapped(path)
        if self._array.ndim != 2:
            raise ServiceError(
                f"{path} holds an array of shape {self._array.shape}, not one of (rows, numbers)."
            )
        check_size(path, *self._array.shape)

    def points(self) -> NDArray[Any]:
        """See `Source`."""
        return np.array(self._array)

    def losses(self, name: str) -> NDArray[np.float64]:
        """See `Source`; always an error, for there are no columns."""
        raise ServiceError(f"--loss {name}: beside a .npy file the losses are in a .npy file, too.")

    def write(self, selected: Selected, output: Path) -> None:
        """See `Source`."""
        with new_file(output) as partial:
            np.savez(partial, **vars(selected))


def read_losses(path: Path, rows: int) -> NDArray[np.float64]:
    """Read a .npy file of one loss a row; NaN = unknown.

    Raises
    ------
    ServiceError
        For a file that is none.
    """
    array = _mapped(path)
    if array.shape != (rows,):
        raise ServiceError(
            f"{path} holds an array of shape {array.shape}, not one loss for each of {rows:,} rows."
        )
    return np.array(array, np.float64)


def _mapped(path: Path) -> NDArray[Any]:
    """The array in a file, of which nothing is read yet."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise ServiceError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        raise ServiceError(f"{path} is no whole .npy file of numbers: {str(error)[:200]}.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ServiceError(f"{path} is no array of numbers: save one with numpy.save.")
    return array
