"""The lessons of the lecture as a newcomer does them, from the first step to the last."""

import re

import pytest
from playwright.sync_api import Page, expect

from core.lessons import LESSONS
from core.lessons.lesson_text import load_prose
from tests.e2e.board import at_rest, wait_until
from tests.e2e.conftest import forget

pytestmark = pytest.mark.e2e

STEPS = LESSONS["bigram"]
# Answers on Shakespeare's plays: all right except the one for "split".
ANSWERS = {"text": "· (space)", "split": "6", "batch": "32", "loss": "4.14", "context": "exactly the same both times"}
GPT_ANSWERS = {
    "averaging": "1/5", "scaling": "16", "positions": "yes, it changes", "today": "1,536",
    "likeliest": "greedy",
}  # fmt: skip
A_RUNG_OF_LITTLE_HELP = "+ second block"  # after so few steps
TRAINED = 600_000  # milliseconds at most to train the models beside other tests that train


def see(page: Page, step: str, lesson: str = "bigram") -> None:
    """Wait until a step is drawn completely, with its computations."""
    expect(page.get_by_role("heading", name=load_prose(lesson, step).title, exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(rf"lesson={lesson}&step={step}(&|$)"))
    # The title comes first, above remains of the previous step.
    at_rest(page)
    # The question is drawn after all computations.
    expect(page.locator(".st-key-lesson_question")).to_be_visible(timeout=TRAINED if lesson == "gpt" else None)
    expect(page.locator(".stException, .stAlertContainer[kind=error]")).to_have_count(0)


def answer(page: Page, given: str) -> None:
    question = page.locator(".st-key-lesson_question")
    if re.fullmatch(r"[\d.,/]+", given):
        question.get_by_role("textbox").fill(given)
        question.get_by_role("textbox").press("Enter")
    else:
        question.get_by_text(given, exact=True).click()
        question.get_by_role("button", name="Check").click()


def fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    wait_until(page, "document.querySelector('[data-testid=stMain]').scrollWidth <= window.innerWidth")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_newcomer_completes_the_bigram_lesson_and_the_browser_remembers_it(server, open_page):
    page = open_page()
    page.goto(f"{server.url}/learn")
    page.locator(".st-key-begin-bigram button").click()
    for step in STEPS:
        if step == STEPS[len(STEPS) // 2]:
            page.emulate_media(color_scheme="dark")
        see(page, step)
        fits_a_phone(page)
        if step == "numbers":  # typed letters are not taken as shortcuts
            name = page.locator(".st-key-lesson_result input")
            name.fill("")
            name.press_sequentially("benny")
            name.press("Enter")
            expect(page.locator(".st-key-lesson_typed .chip")).to_have_count(5)
            name.blur()
        if step == "gradient":
            page.locator(".st-key-lesson_down button").click()
            expect(page.get_by_text("Steps taken on this batch: 1")).to_be_visible()
            page.locator(".st-key-lesson_undo button").click()
            expect(page.get_by_text("no step has been taken")).to_be_visible()
        if step in ANSWERS:
            answer(page, ANSWERS[step])
            verdict = "Not quite." if step == "split" else "Correct."
            expect(page.locator(".st-key-lesson_question .stAlert")).to_contain_text(verdict)
            if step == "split":
                expect(page.locator(".st-key-lesson_memory .js-plotly-plot")).to_be_visible()
        if step == "numbers":
            page.keyboard.press("n")  # to the next step by keyboard
        elif step != STEPS[-1]:
            page.locator(".st-key-lesson_next button").click()
    page.locator(".st-key-lesson_end button").click()
    kept = page.locator(".st-key-path-bigram")
    expect(kept.locator(".path-seen")).to_have_count(len(STEPS))
    expect(kept.locator(".path-right")).to_have_count(4)
    page.goto(f"{server.url}/learn")  # another session: only the browser's storage remembers
    expect(kept.locator(".path-right")).to_have_count(4)
    expect(kept.locator(".path-here")).to_contain_text("continue here")
    kept.locator(".path-here").click()
    see(page, STEPS[-1])

    forget(page, server)  # as another browser, which has not opened the earlier steps
    page.goto(f"{server.url}/learn?lesson=bigram&step=loss")
    see(page, "loss")
    expect(page.locator(".st-key-lesson_path .path-here")).to_have_text(re.compile("6"))
    expect(page.locator(".st-key-lesson_path .path-seen")).to_have_count(1)


def test_a_newcomer_completes_the_gpt_lesson_with_its_ladder(server, open_page):
    page = open_page()
    page.goto(f"{server.url}/learn")
    page.locator(".st-key-begin-gpt button").click()
    verdict = page.locator(".st-key-lesson_question .stAlert")
    for step in LESSONS["gpt"]:
        if step == "ladder":  # rungs are drawn as they are computed
            expect(page.locator(".st-key-lesson_rising .js-plotly-plot")).to_be_visible(timeout=TRAINED)
        see(page, step, "gpt")
        if step in GPT_ANSWERS:
            answer(page, GPT_ANSWERS[step])
            expect(verdict).to_contain_text("Correct.")
        if step == "ladder":
            answer(page, A_RUNG_OF_LITTLE_HELP)
            expect(verdict).to_contain_text("Not quite.")
            expect(page.locator(".st-key-lesson_drops .js-plotly-plot")).to_be_visible()
            for part in ("one head", "full GPT"):
                expect(page.locator(".st-key-lesson_parts")).to_contain_text(part)
        fits_a_phone(page)
        if step != LESSONS["gpt"][-1]:
            page.locator(".st-key-lesson_next button").click()
    page.locator(".st-key-lesson_end button").click()
    expect(page.locator(".st-key-path-gpt .path-here")).to_contain_text("continue here")
