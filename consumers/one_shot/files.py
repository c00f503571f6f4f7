"""Files of one-shot selections: what is read from them is limited, what is written is whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from consumers.errors import ServiceError

__all__ = ["MAX_NUMBERS", "Selected", "Source", "check_size", "new_file"]

MAX_NUMBERS = 2_000_000_000  # read at once; 8 GB in float32


@dataclass(frozen=True, eq=False)
class Selected:
    """The selected rows (m,), in the order of the draw: where they are, and what is said of each."""

    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    clusters: NDArray[np.int64]


class Source(Protocol):
    """A file to select from."""

    def points(self) -> NDArray[np.floating]:
        """The embeddings (n, d)."""

    def losses(self, name: str) -> NDArray[np.float64]:
        """The losses (n,) in a column of the file; NaN = unknown."""

    def write(self, selected: Selected, output: Path) -> None:
        """Write the selected rows to a file that is whole or not there."""


def check_size(path: Path, rows: int, dimension: int) -> None:
    """Refuse what is empty, or too much to be read at once."""
    if rows == 0 or dimension == 0:
        raise ServiceError(f"{path} holds no rows of numbers: nothing can be selected from it.")
    if rows * dimension > MAX_NUMBERS:
        raise ServiceError(
            f"{path} holds {rows:,} rows of {dimension:,} numbers, more than the {MAX_NUMBERS:,} that are "
            "read at once: split it, select from each part, and put the selections together."
        )


@contextmanager
def new_file(output: Path) -> Iterator[Path]:
    """Give a name to write to; what was written becomes `output` at the end, unless there was an error."""
    try:
        handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.", suffix=output.suffix)
        os.close(handle)
    except OSError as error:
        raise ServiceError(f"{output} cannot be written: {error.strerror or error}.") from error
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(output)
    except OSError as error:
        raise ServiceError(f"{output} cannot be written: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
