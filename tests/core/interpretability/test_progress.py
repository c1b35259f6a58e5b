import pytest

from core.interpretability.progress import Progress, finish


def test_the_end_holds_the_whole_result():
    assert finish(Progress(done, 3, "abc"[:done]) for done in (1, 2, 3)) == "abc"


def test_nothing_to_do_has_no_result():
    with pytest.raises(ValueError, match="nothing to compute"):
        finish(iter(()))
