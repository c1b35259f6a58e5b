"""Small work on one processor thread, without a word to the rest of the process."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from threadpoolctl import LibController, ThreadpoolController

_WORTH_SHARING = 1e8  # multiplications: a few milliseconds of one thread


def threads_for(multiplications: float) -> AbstractContextManager:
    """All threads for large sums, such as many tokens through a large model; small ones are done sooner alone."""
    return nullcontext() if multiplications >= _WORTH_SHARING else one_thread()


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block the calling thread does its sums alone; all other threads go on as they did.

    Sharing out sums of a few microseconds costs more than doing them, and where training keeps the cores busy each
    such sum waits for a turn of the scheduler: writing became fifty times slower. `torch.set_num_threads` is no way
    out, since it also decides for threads that start later; OpenMP's own setting belongs to the thread that sets it.
    """
    import torch

    torch.get_num_threads()  # a thread's first sum would set torch's number, and so undo ours
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
    """The OpenMP libraries in this process; none where torch was built without."""
    import torch  # noqa: F401 - brings its own

    return ThreadpoolController().select(user_api="openmp").lib_controllers


@cache
def _mkl() -> Callable[[int], int]:
    """Sets how many threads MKL takes for matrix products of the calling thread; gives the number before, 0 for "all".

    Once anybody has called `torch.set_num_threads`, MKL no longer asks OpenMP. Does nothing where torch has no MKL.
    """
    import torch

    library = ctypes.CDLL(torch._C.__file__)  # looks through what it is linked with, too
    return getattr(library, "MKL_Set_Num_Threads_Local", lambda threads: 0)
