"""`one_thread` limits the calling thread to one thread and affects no other."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from core.fast.threads import one_thread


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_thread_applies_only_to_the_calling_thread(three_threads):
    with ThreadPoolExecutor(1) as known:
        assert known.submit(torch.get_num_threads).result() == 3
        with one_thread(), ThreadPoolExecutor(1) as new:
            assert torch.get_num_threads() == 1
            assert known.submit(torch.get_num_threads).result() == 3
            assert new.submit(torch.get_num_threads).result() == 3
    assert torch.get_num_threads() == 3


def test_one_thread_restores_the_thread_count_after_an_error(three_threads):
    with pytest.raises(RuntimeError), one_thread(), one_thread():
        raise RuntimeError
    assert torch.get_num_threads() == 3


def test_one_thread_also_limits_mkl(three_threads):
    has_mkl = torch.backends.mkl.is_available()
    assert matrix_threads() == ["3"] * has_mkl
    with one_thread():
        assert matrix_threads() == ["1"] * has_mkl
    assert matrix_threads() == ["3"] * has_mkl


def matrix_threads() -> list[str]:
    """Return the number of threads that MKL uses for the calling thread, or an empty list if torch has no MKL."""
    return re.findall(r"mkl_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
