"""Shannon's game on a real keyboard, and an experiment of the lesson "Break a GPT"."""

import pytest
from playwright.sync_api import Page, expect

from core.lessons.shannon import choose_passage
from core.text.own_text import save_text
from tests.conftest import TEXT
from tests.e2e.board import wait_until

pytestmark = pytest.mark.e2e


def test_a_passage_is_guessed_with_the_keyboard(server, open_page):
    corpus = save_text(TEXT, "Hamlet", server.data_dir)
    hidden = choose_passage(TEXT, 1, 15).hidden
    page = open_page(width=390)
    page.goto(f"{server.url}/play?text={corpus.name}&passage=1&letters=15")
    field = page.locator(".board-field")
    expect(field).to_be_focused()
    fits_both_widths(page)
    page.keyboard.press(next(letter for letter in TEXT if letter.isalpha() and letter not in hidden))
    expect(page.locator(".board-wrong")).to_have_count(1)
    page.keyboard.insert_text("ß")
    expect(page.locator(".board-tried")).to_contain_text("'ß' does not occur in this text.")
    for letter in hidden[:-1]:  # as fast as possible: the page queues guesses
        page.keyboard.press({"\n": "Enter", " ": "Space"}.get(letter, letter))
    expect(page.locator(".board-letter")).to_have_count(len(hidden) - 1)
    expect(page.locator(".board-count").first).to_have_text("2")
    page.locator(".st-key-play_tell button:visible").click()
    expect(page.locator(".st-key-play_how")).to_be_visible()
    expect(page.locator(".st-key-play_result .js-plotly-plot")).to_be_visible()
    expect(page.locator(".st-key-play_passage")).to_contain_text(hidden.split("\n")[0].strip())
    fits_both_widths(page)


def fits_both_widths(page: Page) -> None:
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        wait_until(page, "width => document.documentElement.scrollWidth <= width", arg=width)


JAPANESE = "春は水がすきです。夏は山がすきです。秋は空を見る。冬は火が暖かい。" * 150
ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36"


def test_each_character_committed_by_an_input_method_is_one_guess(server, open_page):
    corpus = save_text(JAPANESE, "Seasons", server.data_dir)
    hidden = choose_passage(JAPANESE, 1, 15).hidden
    page = open_page()
    page.goto(f"{server.url}/play?text={corpus.name}&passage=1&letters=15")
    expect(page.locator(".board-field")).to_be_focused()
    typing = page.context.new_cdp_session(page)
    guesses = page.locator(".board-wrong, .board-letter")
    first, other = hidden[0], next(letter for letter in "水山空火" if letter != hidden[0])
    for sounds in ("す", "すき", "すきで"):
        typing.send(
            "Input.imeSetComposition", {"text": sounds, "selectionStart": len(sounds), "selectionEnd": len(sounds)}
        )
    typing.send("Input.insertText", {"text": other})
    expect(page.locator(".board-wrong")).to_have_text([other])
    for sounds in ("a", "あ"):
        typing.send("Input.imeSetComposition", {"text": sounds, "selectionStart": 1, "selectionEnd": 1})
    typing.send("Input.insertText", {"text": first})
    expect(page.locator(".board-count").first).to_have_text("2")  # all guesses: composed text does not count
    expect(guesses).to_have_count(1)
    expect(page.locator(".board-tried")).not_to_contain_text("does not occur")


def test_on_a_phone_keyboard_each_composed_letter_is_a_guess(server, open_page):
    corpus = save_text(TEXT, "Hamlet", server.data_dir)
    page = open_page(user_agent=ANDROID)
    page.goto(f"{server.url}/play?text={corpus.name}&passage=1&letters=15")
    expect(page.locator(".board-field")).to_be_focused()
    typing = page.context.new_cdp_session(page)
    typing.send("Input.imeSetComposition", {"text": "ß", "selectionStart": 1, "selectionEnd": 1})
    expect(page.locator(".board-tried")).to_contain_text("'ß' does not occur in this text.")


def test_both_models_of_an_experiment_train_live_and_can_be_stopped(server, open_page):
    corpus = save_text(TEXT * 2, "Hamlet", server.data_dir)
    page = open_page(color_scheme="dark")
    page.goto(f"{server.url}/learn?lesson=break&step=mask&set=text:{corpus.name};steps:800")
    predict_and_run(page)
    live = page.locator(".st-key-break_live .js-plotly-plot")
    expect(live).to_be_visible()
    node = live.element_handle()
    wait_until(page, "node => node.data[0].x.length > 2", arg=node)  # two ticks later at least
    assert node.evaluate("node => node.isConnected")  # still the same chart, so a zoom is kept
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".st-key-lesson_result")).to_contain_text("Stopped before it was done")
    expect(live).to_be_visible()  # up to where training stopped
    expect(page.get_by_role("button", name="Begin again")).to_be_visible()
    page.get_by_role("radio", name="50", exact=True).click()
    predict_and_run(page)
    expect(page.locator(".st-key-break_predict")).to_be_visible(timeout=120_000)
    expect(page.locator(".st-key-lesson_explained .js-plotly-plot")).to_be_visible()


def predict_and_run(page: Page) -> None:
    page.get_by_text("the broken model", exact=True).click()
    page.get_by_text("almost always the same character").click()
    page.locator(".st-key-break_run button").click()
