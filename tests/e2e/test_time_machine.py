"""The time machine, as a person uses it: one slider moves all views, plays, and compares two steps side by side."""

import re
import shutil

import pytest
from playwright.sync_api import Page, expect

from core.runs.folder import RunFolder, list_runs
from core.runs.weights import steps_with_weights
from core.runs.worker import train_run
from tests.e2e.board import wait_until

pytestmark = pytest.mark.e2e

CLOCK = "window.clocks.get('a')"  # in a page, after `wait_for_frame`
SETTLED = """() => window.clocks.size > 0
    && [...window.clocks.values()].every((clock) => clock.frame && !clock.waiting)"""
PICTURE = "canvas => canvas.toDataURL()"
PLACES = "letters => letters.map(letter => letter.style.transform).join()"


@pytest.fixture(scope="module")
def run(running_server, trained_home) -> RunFolder:
    """Return a run that has learned something, in the server's data folder."""
    shutil.copytree(trained_home / "texts", running_server.data_dir / "texts", dirs_exist_ok=True)
    config = list_runs(trained_home)[0].record().config
    folder = RunFolder.create(running_server.data_dir, config.replace({"train.steps": 80, "train.learning_rate": 0.02}))
    train_run(folder, running_server.data_dir)
    return folder


def wait_for_frame(page: Page) -> None:
    """Wait until the page draws the frames of the viewed steps. Conditions can then use the page's clocks."""
    page.evaluate("async () => { window.clocks = (await import('gpt-explorer/time_machine/clock.js')).clocks; }")
    wait_until(page, SETTLED)


def at_step(page: Page, step: int) -> None:
    expect(page.locator(".st-key-time_step .time-readout b")).to_have_text(re.compile(rf"^Step {step} of"))
    wait_for_frame(page)


def seen(page: Page) -> dict[str, str]:
    """Return what every view shows now."""
    return {
        "heads": page.locator(".st-key-inspect_board canvas").evaluate(PICTURE),
        "one head": page.locator(".st-key-inspect_heatmap canvas").evaluate(PICTURE),
        "next": page.locator(".bars").inner_text(),
        "by block": page.locator(".by-block").inner_text(),
        "text": page.locator(".snapshot-text").inner_text(),
        "letters": page.locator(".st-key-inspect_map .stage text").evaluate_all(PLACES),
        "place on the curve": page.locator(".st-key-time_step .time-spot").get_attribute("style"),
    }


def test_one_slider_changes_all_views_plays_the_steps_and_compares_two(server, open_page, run):
    first, second, *_, last = steps_with_weights(run)
    page = open_page(reduced_motion="reduce")
    page.goto(f"{server.url}/look_inside?run={run.id}&view=Attention")
    expect(page.locator(".by-block-row").first).to_be_visible()
    expect(page.locator(".st-key-time_step .time-spot")).to_be_visible()  # the losses arrive by the stream
    at_step(page, last)
    before = seen(page)

    slider = page.locator(".st-key-time_step input[type=range]")
    slider.press("Home")
    at_step(page, first)
    after = seen(page)
    assert [name for name in before if after[name] == before[name]] == []
    expect(page).to_have_url(re.compile(rf"step={first}(&|$)"))  # the address has been updated
    slider.press("ArrowRight")
    at_step(page, second)

    page.locator(".st-key-time_step .time-pace").click()
    page.locator(".st-key-time_step .time-play").click()
    at_step(page, last)
    expect(page.locator(".st-key-time_step .time-play")).to_have_attribute("aria-label", "Play the training")
    expect(page).not_to_have_url(re.compile("step="))

    page.locator(".st-key-compare_with input").click()
    page.get_by_role("option", name="another step of this run").click()
    readout = page.locator(".st-key-time_step_beside .time-readout b")
    expect(readout).to_have_text(re.compile(rf"^Step {first} of"))
    expect(page.locator(".st-key-inspect_board_b canvas")).to_be_visible()
    page.locator(".st-key-time_step_beside input[type=range]").press("ArrowRight")
    expect(page).to_have_url(re.compile(rf"with_step={second}(&|$)"))
    page.reload()
    expect(readout).to_have_text(re.compile(rf"^Step {second} of"))
    at_step(page, last)
    page.locator(".time-both input").check()
    slider.press("ArrowLeft")  # two steps of one run keep their distance
    expect(readout).to_have_text(re.compile(rf"^Step {first} of"))


def test_playing_does_not_modify_the_cached_frames(server, open_page, run):
    """Pictures fade into each other, and intermediate values must not be written into the cached frames."""
    page = open_page()
    page.goto(f"{server.url}/look_inside?run={run.id}&view=Attention")
    at_step(page, steps_with_weights(run)[-1])
    wait_until(page, f"() => {CLOCK}.frames.size === {len(steps_with_weights(run))}")
    sums = f"""() => [...{CLOCK}.frames]
        .map(([step, {{ attention }}]) => [step, attention.bytes.reduce((sum, byte) => (31 * sum + byte) % 65521, 0)])
        .sort(([one], [two]) => one - two)"""
    before = page.evaluate(sums)
    assert len({total for _, total in before}) > 1
    play = page.locator(".st-key-time_step .time-play")
    play.click()
    expect(play).to_have_attribute("aria-label", "Pause the training's playback")
    expect(play).to_have_attribute("aria-label", "Play the training")
    assert page.evaluate(sums) == before
