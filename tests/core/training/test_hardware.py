import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from core.errors import ExplorerError
from core.training.hardware import allowed_memory, find_hardware, free_memory, memory_left
from tests.conftest import no_more_memory_than

GB = 2**30


def test_the_detected_hardware_is_described_in_a_sentence():
    found = find_hardware()
    assert found.device in ("cuda", "mps", "cpu")
    assert found.name in found.sentence
    assert found.sentence.endswith("memory.") or "shared with" in found.sentence
    assert found.cores >= 1
    assert found.memory_bytes > 2**28
    assert found.versions["torch"] == torch.__version__


@pytest.fixture
def without_cuda(monkeypatch) -> Iterator[None]:
    """Let torch see no NVIDIA GPU, even if this machine has one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    find_hardware.cache_clear()
    yield
    find_hardware.cache_clear()


def test_a_missing_nvidia_gpu_is_reported_with_the_device_used_instead(without_cuda):
    found = find_hardware("cpu")
    assert found.device == "cpu"
    assert f"{found.cores} core" in found.sentence
    mps = torch.backends.mps.is_available()
    expected = "This trains on Apple's GPU: " if mps else "No GPU found, so this trains on the processor: "
    assert find_hardware().sentence.startswith(expected)
    assert (found == find_hardware()) == (not mps)


def test_an_unavailable_or_unknown_device_is_an_error(without_cuda):
    with pytest.raises(ExplorerError, match=r"an NVIDIA GPU, but .* Set the device to auto"):
        find_hardware("cuda")
    with pytest.raises(ExplorerError, match="a device called 'tpu'"):
        find_hardware("tpu")


def group(folder: Path, limit: object, used: int, inactive: int, *, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {2: ("memory.max", "memory.current", ""), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")}
    limit_name, used_name, total = names[version]
    (folder / limit_name).write_text(f"{limit}\n")
    (folder / used_name).write_text(f"{used}\n")
    own = f"inactive_file 1\n{total}inactive_file {inactive}\n" if total else f"inactive_file {inactive}\n"
    (folder / "memory.stat").write_text(f"anon 5\nfile {inactive + 7}\n{own}active_file 7\n")


@pytest.fixture
def own(tmp_path):
    def say(text: str) -> Path:
        (tmp_path / "own").write_text(text)
        return tmp_path / "own"

    return say


def test_container_memory_in_use_is_not_free_except_for_inactive_file_cache(tmp_path, own):
    group(tmp_path, 4 * GB, 3 * GB, GB)
    inside = own("0::/\n")
    assert allowed_memory(tmp_path, inside) == 4 * GB
    assert memory_left(tmp_path, inside) == 2 * GB
    group(tmp_path, 4 * GB, 5 * GB, 0)
    assert memory_left(tmp_path, inside) == 0


def test_the_tightest_enclosing_cgroup_limits_memory(tmp_path, own):
    group(tmp_path / "a" / "b", "max", GB, 0)
    group(tmp_path / "a", 3 * GB, 2 * GB, 0)
    group(tmp_path, 9 * GB, 2 * GB, 0)
    assert allowed_memory(tmp_path, own("0::/a/b\n")) == 3 * GB
    assert memory_left(tmp_path, own("0::/a/b\n")) == GB
    assert memory_left(tmp_path, own("0::/elsewhere/unseen\n")) == 7 * GB


def test_cgroup_v1_limits_are_read(tmp_path, own):
    group(tmp_path / "memory", 2 * GB, GB, GB // 2, version=1)
    hybrid = own("9:name=systemd:/\n4:cpu,memory:/docker/0123\n0::/\n")  # the container's group appears as the root
    assert allowed_memory(tmp_path, hybrid) == 2 * GB
    assert memory_left(tmp_path, hybrid) == 3 * GB // 2


def test_without_cgroups_there_is_no_memory_limit(tmp_path, own):
    assert allowed_memory(tmp_path, own("")) is None
    assert allowed_memory(tmp_path, tmp_path / "missing") is None
    assert allowed_memory(tmp_path, own("0::/\n")) is None


def test_free_memory_never_exceeds_total_memory():
    here = find_hardware("cpu")
    assert 0 < free_memory(here) <= here.memory_bytes <= psutil.virtual_memory().total
    assert here.memory_bytes <= (allowed_memory() or here.memory_bytes)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no limit on a process's memory is kept")
def test_a_process_memory_limit_reduces_free_memory():
    with no_more_memory_than(2**28):
        assert 0 < free_memory(find_hardware("cpu")) <= 2**28
