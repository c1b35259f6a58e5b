"""A long run in a real browser: its curve is thinned and keeps its outliers."""

from collections.abc import Iterator

import pytest

from core.runs.folder import RunFolder
from tests.e2e.board import wait_until
from tests.long_runs import add_rows, long_run

pytestmark = pytest.mark.e2e

CURVE = """() => {
    const trace = document.querySelector('.st-key-live_loss .js-plotly-plot')?.data?.[0];
    const x = Array.from(trace?.x ?? []), y = Array.from(trace?.y ?? []);
    return {last: x[x.length - 1] ?? -1, points: x.length, high: x.filter((_, index) => y[index] > 10)};
}"""
MAX_POINTS = 1500  # for a curve in the browser


@pytest.fixture
def run(server) -> Iterator[RunFolder]:
    folder = long_run(server.data_dir, 60_000, spikes={30_003: 42.0})
    yield folder
    folder.write_status(folder.status().end("stopped", "This process no longer counts as its worker."))


def test_outliers_of_a_long_run_stay_on_the_chart_while_rows_are_added(server, open_page, run):
    page = open_page()
    page.goto(f"{server.url}/train?run={run.id}")
    wait_until(page, f"() => ({CURVE})().last === 59999")
    assert page.evaluate(CURVE)["high"] == [30_003]

    spikes = {60_500 + 3001 * count: 40.0 + count for count in range(4)}
    for first in range(60_000, 72_000, 3000):
        add_rows(run, first, 3000, spikes)
        wait_until(page, f"() => ({CURVE})().last === {first + 2999}")
    curve = page.evaluate(CURVE)
    assert curve["high"] == [30_003, *spikes]
    assert curve["points"] <= MAX_POINTS
    page.reload()
    wait_until(page, f"() => ({CURVE})().last === 71999")
    assert page.evaluate(CURVE)["high"] == [30_003, *spikes]
