"""Threads are handed out where they pay."""

import dataclasses

import pytest

from core.presets import preset
from core.runs.capacity import slots_on, threads_for
from core.training.hardware import find_hardware


@pytest.mark.parametrize(("name", "most", "threads"), [("bigram", 8, 1), ("gpt-quick", 8, 1), ("gpt-tiny", 2, 2)])
def test_small_models_leave_cores_to_others(name, most, threads):
    assert threads_for(preset(name), most) == threads


def test_large_models_take_what_they_are_given_and_no_more():
    assert threads_for(preset("gpt-lecture"), 8) == 8
    assert threads_for(preset("gpt2"), 1) == 1


@pytest.mark.parametrize(
    ("device", "cores", "gigabytes", "slots"),
    [("cpu", 8, 16, 4), ("cpu", 8, 2, 2), ("cpu", 1, 0.5, 1), ("cuda", 64, 80, 1)],
)
def test_a_gpu_trains_one_run_at_a_time_and_a_processor_what_it_bears(device, cores, gigabytes, slots):
    machine = dataclasses.replace(find_hardware("cpu"), device=device, cores=cores, memory_bytes=int(gigabytes * 2**30))
    assert slots_on(machine) == slots
