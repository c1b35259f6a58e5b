"""One very long run for all these tests: it is watched, zoomed into, left and opened again."""

import re
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from core.runs.folder import RunFolder, list_runs, open_run
from tests.e2e.board import (
    POINTS,
    generate,
    leave_cores_to_pages,
    look_inside,
    on_the_board,
    wait_for_points,
    wait_until,
    walk_to,
    watch,
)
from tests.e2e.conftest import end_training, opening_pages
from tests.e2e.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("long training")]

STEPS = 200_000
COUNT_SHIFTS = """() => {
    window.shifted = 0;
    const count = list => list.getEntries().forEach(entry => (window.shifted += entry.value));
    new PerformanceObserver(count).observe({type: "layout-shift"});
}"""


@pytest.fixture(scope="module")
def run(running_server: Server, visitor: BrowserContext, tabs: list[Page]) -> Iterator[RunFolder]:
    """Start gpt-quick for very many steps from a link, by two clicks."""
    with opening_pages(visitor, tabs, running_server) as open_page:
        page = open_page()
        page.goto(
            f"{running_server.url}/train?preset=gpt-quick"
            f"&set=train.steps:{STEPS};train.eval_interval:10;train.eval_windows:16"
        )
        page.locator(".st-key-train_start button").dblclick()
        run = open_run(running_server.data_dir, on_the_board(page))
    leave_cores_to_pages(run)
    yield run
    end_training(running_server)


def test_a_double_click_starts_only_one_run(server, run):
    long_ones = [other.id for other in list_runs(server.data_dir) if other.record().config.train.steps == STEPS]
    assert long_ones == [run.id]


def test_in_dark_mode_a_run_is_watched_inspected_and_used_to_generate(server, run, open_page):
    page = open_page(color_scheme="dark")
    page.goto(f"{server.url}/train?run={run.id}")
    wait_for_points(page, more_than=2)
    watch(page)
    walk_to(page, "Look inside")
    assert run.id in page.url
    look_inside(page)
    walk_to(page, "Generate")
    generate(page)


def test_loss_samples_and_heads_fit_on_the_screen_and_do_not_shift(server, run, open_page):
    page = open_page(height=720)
    page.goto(f"{server.url}/train?run={run.id}")
    page.locator(".st-key-live_loss").wait_for()
    page.evaluate(COUNT_SHIFTS)
    wait_for_points(page, more_than=2)
    expect(page.locator(".st-key-live_attention canvas").first).to_be_visible()
    expect(page.locator(".st-key-live_samples")).to_contain_text("step 0")
    wait_for_points(page, more_than=page.evaluate(POINTS))
    assert page.evaluate("window.shifted") < 0.05
    areas = {}
    for card in ("live_loss", "live_samples", "live_attention"):
        box = page.locator(f".st-key-{card}").bounding_box()
        assert box["y"] + box["height"] <= 720
        areas[card] = box["width"] * box["height"]
    assert sum(areas.values()) > 0.7 * 978 * 560

    expect(page.locator(".st-key-setting_dropout")).to_be_hidden()
    page.locator(".st-key-live_settings label").click()
    expect(page.locator(".st-key-setting_dropout")).to_be_visible()
    walk_to(page, "Data")
    walk_to(page, "Train")
    expect(page.locator(".st-key-setting_dropout")).to_be_visible()
    page.locator(".st-key-live_settings label").click()
    expect(page.locator(".st-key-setting_dropout")).to_be_hidden()


LOSS_THEN_TEXT = """() => {
    const placeOf = (card) => document.querySelector(`.st-key-${card}`).getBoundingClientRect();
    const [loss, text] = ["live_loss", "live_samples"].map(placeOf);
    return loss.bottom <= text.top && text.top < 844;
}"""


def test_the_zoom_is_kept_during_updates_and_the_page_fits_a_phone(server, run, open_page):
    page = open_page()
    page.goto(f"{server.url}/train?run={run.id}")
    wait_for_points(page, more_than=2)
    chart = "document.querySelector('.st-key-live_loss .js-plotly-plot')"
    box = page.locator(".st-key-live_loss .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    wait_until(page, f"() => {chart}.layout.yaxis.autorange === false")
    zoomed = page.evaluate(f"{chart}.layout.yaxis.range.slice()")
    wait_for_points(page, more_than=page.evaluate(POINTS) + 3)
    assert page.evaluate(f"{chart}.layout.yaxis.range.slice()") == zoomed

    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    wait_for_points(page, more_than=2)
    overflow = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth")
    assert overflow <= 0
    wait_until(page, LOSS_THEN_TEXT)  # both at once: the header may still be loading
    heads = page.locator(".st-key-live_attention canvas").first
    assert heads.evaluate("canvas => canvas.closest('.place').clientHeight >= canvas.offsetHeight")

    heads.click(position={"x": 50, "y": 30})
    page.wait_for_url(re.compile(r"look_inside\?.*part=head-1\.1"))
    expect(page.locator(".model-opened h2")).to_contain_text("1.1")


def test_training_continues_while_the_web_server_is_down_and_the_page_reconnects(server, run, open_page):
    page = open_page()
    worker = psutil.Process(run.status().pid)
    page.goto(f"{server.url}/train?run={run.id}")
    wait_for_points(page, more_than=2)
    address = page.url
    page.close()
    server.kill()
    step = run.rows("metrics")[-1]["step"]
    while run.rows("metrics")[-1]["step"] < step + 50:  # ends because the worker keeps writing
        with pytest.raises(psutil.TimeoutExpired):  # the worker is still running
            worker.wait(timeout=0.2)
    server.start()
    page = open_page()
    page.goto(address)
    wait_for_points(page, more_than=2)
    assert run.status().pid == worker.pid
    page.locator(".st-key-train_pause button").click()
    page.locator(".st-key-train_resume button").wait_for()
    paused_at = run.status().step
    page.locator(".st-key-train_step button").click()
    expect(page.get_by_text(f"Step {paused_at + 1:,}").first).to_be_visible()
    page.locator(".st-key-train_resume button").click()
    page.locator(".st-key-train_pause button").wait_for()
    page.locator(".st-key-train_stop button").click()
    page.locator(".st-key-train_pause button").wait_for(state="detached")
    page.locator(".st-key-train_resume button").wait_for()
    assert run.status().state == "stopped"
