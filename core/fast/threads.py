"""Small computations on one thread, and freed memory reused instead of returned to the system."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from threadpoolctl import LibController, ThreadpoolController

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h
_WORTH_SHARING = 1e8  # multiplications: a few milliseconds on one thread


def threads_for(multiplications: float) -> AbstractContextManager[None]:
    """Return a context with all threads for large computations, and one thread for small ones, which is faster."""
    return nullcontext() if multiplications >= _WORTH_SHARING else one_thread()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute only on the calling thread inside the block; other threads are not affected.

    Splitting a computation of a few microseconds costs more than the computation: measured, generation became fifty
    times slower next to training. `torch.set_num_threads` would also affect threads that start later.
    """
    import torch

    torch.get_num_threads()  # a thread's first computation sets torch's thread count, which would undo ours
    pools, matrix_threads = _openmp(), _mkl()
    before = [pool.get_num_threads() for pool in pools]
    for pool in pools:
        pool.set_num_threads(1)
    matrix_before = matrix_threads(1)
    try:
        yield
    finally:
        matrix_threads(matrix_before)
        for pool, threads in zip(pools, before, strict=True):
            pool.set_num_threads(threads)


@cache
def _openmp() -> list[LibController]:
    import torch  # noqa: F401 - loads its own OpenMP

    return ThreadpoolController().select(user_api="openmp").lib_controllers


@cache
def _mkl() -> Callable[[int], int]:
    """Return MKL's function that sets the calling thread's number of threads and returns the previous one (0: all)."""
    import torch

    library = ctypes.CDLL(torch._C.__file__)  # also searches the libraries it is linked with
    return getattr(library, "MKL_Set_Num_Threads_Local", lambda threads: 0)


def keep_freed_memory() -> None:
    """Make a process that only trains keep its freed memory for the next step.

    Every step allocates the same large tensors. The C library would return each freed tensor to the system and get it
    back page by page, zeroed: measured, a quarter of a large model's step time. Only for glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
