import pytest
import torch

from core.errors import ExplorerError
from core.training.hardware import find_hardware


def test_what_was_found_is_said_in_a_sentence():
    found = find_hardware()
    assert found.device in ("cuda", "mps", "cpu")
    assert found.name in found.sentence
    assert found.sentence.endswith("memory.") or "shared with" in found.sentence
    assert found.cores >= 1
    assert found.memory_bytes > 2**28
    assert found.versions["torch"] == torch.__version__


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_what_follows():
    found = find_hardware("auto")
    assert found.device == "cpu"
    assert found.sentence.startswith("No GPU found, so this trains on the processor: ")
    assert f"{found.cores} core" in found.sentence
    assert find_hardware("cpu") == found


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU")
def test_a_device_that_is_not_there_is_an_error_that_says_what_to_do():
    with pytest.raises(ExplorerError, match="an NVIDIA GPU, but .* Set the device to auto"):
        find_hardware("cuda")
    with pytest.raises(ExplorerError, match="a device called 'tpu'"):
        find_hardware("tpu")
