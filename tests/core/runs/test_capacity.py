"""Threads are handed out where they pay."""

import pytest

from core.presets import preset
from core.runs.capacity import threads_for


@pytest.mark.parametrize(("name", "most", "threads"), [("bigram", 8, 1), ("gpt-quick", 8, 1), ("gpt-tiny", 2, 2)])
def test_small_models_leave_cores_to_others(name, most, threads):
    assert threads_for(preset(name), most) == threads


def test_large_models_take_what_they_are_given_and_no_more():
    assert threads_for(preset("gpt-lecture"), 8) == 8
    assert threads_for(preset("gpt2"), 1) == 1
