"""Small work on one processor thread, without a word to the rest of the process."""

from collections.abc import Iterator
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
    pools = _openmp()
    before = [pool.get_num_threads() for pool in pools]
    for pool in pools:
        pool.set_num_threads(1)
    try:
        yield
    finally:
        for pool, threads in zip(pools, before, strict=True):
            pool.set_num_threads(threads)


@cache
def _openmp() -> list[LibController]:
    """The OpenMP libraries in this process; none where torch was built without."""
    import torch  # noqa: F401 - brings its own

    return ThreadpoolController().select(user_api="openmp").lib_controllers
