import numpy as np
import pytest
import torch

from core.errors import ConfigError
from core.presets import preset
from core.training.hardware import knows_bfloat16
from core.training.speed import MachineSpeed, _fit_positive, measure_speed, step_seconds


def test_a_real_measurement_gives_prices_and_leaves_torch_as_it_was():
    threads, rng = torch.get_num_threads(), torch.get_rng_state()
    speed = measure_speed(threads=1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), rng)
    assert (speed.device, speed.threads) == ("cpu", 1)
    for precision in ("float32", "bfloat16"):
        names = ("gpt-quick", "gpt-tiny", "gpt-lecture")
        quick, tiny, lecture = (step_seconds(preset(name), 80, speed, precision) for name in names)
        assert 0 < quick < tiny < lecture
    assert (speed.bfloat16 is not None) == knows_bfloat16("cpu")
    assert MachineSpeed.parse(speed.to_json()) == speed


def test_a_damaged_cache_is_a_sentence():
    with pytest.raises(ConfigError):
        MachineSpeed.parse('{"device": "cpu"')


def test_the_fit_finds_prices_that_are_there():
    amounts = np.array([[1, 1, 10.0], [1, 6, 10], [1, 2, 500], [1, 1, 9000]])
    prices = [0.5, 0.2, 0.003]
    assert _fit_positive(amounts, amounts @ prices) == pytest.approx(prices)


def test_no_price_is_ever_negative():
    amounts = np.array([[1, 1.0], [1, 2], [1, 3]])
    assert _fit_positive(amounts, np.array([1.0, 4.0, 7.0])) == pytest.approx([0, 30 / 14])
