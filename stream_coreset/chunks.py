"""Passes over many rows in chunks that stay in the cache.

On the CPU the chunks run in Python threads, each with a BLAS of one thread (OpenBLAS with several collapses
on small chunks), and use their scratch memory again. On CUDA they run one after another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from stream_coreset.arrays import Array

__all__ = ["buffer", "for_chunks"]

_CPU_ROWS = 512
_CPU_SCORES = 1 << 22  # of one chunk, so that many centers do not take many megabytes a thread
_CUDA_SCORES = 1 << 23  # 32 MB in float32: the second-level cache of a large GPU


class _OneThreadBlas:
    """Pins BLAS to one thread while any pass runs; nested and concurrent passes are counted."""

    def __init__(self) -> None:
        self._lock, self._inside, self._threads = threading.Lock(), 0, 1
        self._controller = ThreadpoolController().select(user_api="blas")

    def __enter__(self) -> int:
        """Pin; return how many threads BLAS was allowed before, for us to use."""
        with self._lock:
            if self._inside == 0:
                self._limit = self._controller.limit(limits=1)
                before = (info["num_threads"] for info in self._limit._original_info)
                self._threads = max(before, default=1)
            self._inside += 1
            return self._threads

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


class _Buffers(threading.local):
    """Scratch memory of one thread, kept between passes and grown when a pass needs more."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Any], NDArray[Any]] = {}

    def get(self, xp: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        if xp is not np:  # CuPy keeps a memory pool of its own
            return xp.empty(shape, dtype)
        flat, size = self._kept.get((name, dtype)), prod(shape)
        if flat is None or flat.size < size:
            flat = self._kept[name, dtype] = np.empty(size, dtype)
        return flat[:size].reshape(shape)


buffer = _Buffers().get
_one_thread_blas = cache(_OneThreadBlas)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")


def _chunk_rows(xp: Any, n: int, k: int, threads: int) -> int:
    if xp is not np:
        return max(1, _CUDA_SCORES // k)
    return max(1, min(_CPU_ROWS, _CPU_SCORES // k, -(-n // threads)))


def for_chunks(xp: Any, n: int, k: int, work: Callable[[slice], None]) -> None:
    """Call ``work`` with consecutive slices of n rows that have k scores each."""
    if xp is not np:
        rows = _chunk_rows(xp, n, k, 1)
        for start in range(0, n, rows):
            work(slice(start, min(start + rows, n)))
        return
    with _one_thread_blas() as threads:
        rows = _chunk_rows(xp, n, k, threads)
        starts = iter(range(0, n, rows))  # shared: a thread that is held up takes fewer

        def worker(_: int) -> None:
            for start in starts:
                work(slice(start, min(start + rows, n)))

        workers = min(threads, -(-n // rows))
        if workers == 1:
            worker(0)
        else:
            list(_pool(threads).map(worker, range(workers)))
