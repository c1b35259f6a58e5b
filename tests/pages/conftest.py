"""Pages begin computations beside them; those of one test end before its runs are taken away."""

from collections.abc import Iterator

import pytest

from explorer.services import jobs


@pytest.fixture(autouse=True)
def jobs_end(explorer_home) -> Iterator[None]:
    yield
    jobs._thread.submit(lambda: None).result()
    jobs._jobs.clear()  # the runs of other tests have the same ids
