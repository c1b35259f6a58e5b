"""Pages begin computations beside them; those of one test end before its runs are taken away."""

from collections.abc import Iterator

import pytest

from core.lessons import quick_train
from explorer.services import jobs


@pytest.fixture(autouse=True)
def jobs_end(explorer_home) -> Iterator[None]:
    yield
    jobs._thread.submit(lambda: None).result()
    jobs._jobs.clear()  # the runs of other tests have the same ids


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lessons train for fewer steps: what their models learn is tested with the lessons' computations."""
    monkeypatch.setattr(quick_train, "STEPS", 60)
    monkeypatch.setattr(quick_train, "RUNG_STEPS", 30)
