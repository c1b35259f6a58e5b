"""Shannon's game on a real keyboard, and the bench with its bar, as a class would use them."""

import pytest
from playwright.sync_api import expect

from core.lessons.shannon import choose_passage
from core.text.own_text import save_text
from tests.conftest import TEXT

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("width", [1280, 390])
def test_a_passage_is_guessed_on_the_keyboard(server, open_page, width):
    corpus = save_text(TEXT, "Hamlet", server.home)
    hidden = choose_passage(TEXT, 1, 15).hidden
    page = open_page(width=width)
    page.goto(f"{server.url}/play?text={corpus.name}&passage=1&letters=15")
    field = page.locator(".board-field")
    expect(field).to_be_focused()
    page.keyboard.press(next(letter for letter in TEXT if letter.isalpha() and letter not in hidden))
    expect(page.locator(".board-wrong")).to_have_count(1)
    page.keyboard.insert_text("ß")
    expect(page.locator(".board-tried")).to_contain_text("'ß' does not occur in this text.")
    for letter in hidden[:-1]:  # as fast as it goes: what the page has no time for yet waits for its turn
        page.keyboard.press({"\n": "Enter", " ": "Space"}.get(letter, letter))
    expect(page.locator(".board-letter")).to_have_count(len(hidden) - 1)
    expect(page.locator(".board-count").first).to_have_text("2")
    page.locator(".st-key-play_tell button:visible").click()
    expect(page.locator(".st-key-play_how")).to_be_visible()
    expect(page.locator(".st-key-play_result .js-plotly-plot")).to_be_visible()
    expect(page.locator(".st-key-play_passage")).to_contain_text(hidden.split("\n")[0].strip())
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_both_twins_learn_before_ones_eyes_and_can_be_stopped(server, open_page):
    corpus = save_text(TEXT * 2, "Hamlet", server.home)
    page = open_page(color_scheme="dark")
    page.goto(f"{server.url}/learn?lesson=break&step=mask&set=text:{corpus.name};steps:800")
    page.get_by_text("the broken twin's").click()
    page.get_by_text("nearly always the same character").click()
    page.locator(".st-key-break_run button").click()
    live = page.locator(".st-key-break_live .js-plotly-plot")
    expect(live).to_be_visible()
    node = live.element_handle()
    page.wait_for_function("node => node.data[0].x.length > 2", arg=node)  # two ticks later at least
    assert node.evaluate("node => node.isConnected")  # still the same one, so a zoom into it stays
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".st-key-lesson_result")).to_contain_text("Stopped before it was done")
    expect(live).to_be_visible()  # as far as they came
    page.get_by_role("button", name="Begin again").click()
    expect(page.locator(".st-key-break_predict")).to_be_visible(timeout=120_000)
    expect(page.locator(".st-key-lesson_explained .js-plotly-plot")).to_be_visible()
