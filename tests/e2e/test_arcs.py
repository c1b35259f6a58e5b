"""Attention arcs: pointing at a token shows its attention in both directions; a click shows the arithmetic."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e

ARCS = ".st-key-inspect_arcs"


def test_pointing_at_a_token_shows_attention_from_it_and_to_it(server, open_page, trained_run):
    page = open_page()
    page.goto(f"{server.url}/look_inside?run={trained_run.id}&view=Attention")
    typed = page.locator(".st-key-inspect_prompt input")
    typed.fill("to be or not")
    typed.press("Enter")
    expect(page.locator(f"{ARCS} .arcs-letter")).to_have_count(12)
    letter = page.locator(f"{ARCS} .arcs-letter").nth(5)
    letter.scroll_into_view_if_needed()
    above, below = page.locator(f"{ARCS} svg").nth(0), page.locator(f"{ARCS} svg").nth(1)
    expect(page.locator(f"{ARCS} .arcs-readout")).to_contain_text("Point at or tap a token")
    expect(below.locator("path")).to_have_count(0)
    expect(above.locator("path").nth(10)).to_be_attached()  # at least one from each letter with more than one key
    letter.hover()
    expect(page.locator(f"{ARCS} .arcs-readout")).to_contain_text("attends to")
    expect(above.locator("path")).to_have_count(5)  # the five letters before it
    expect(below.locator("path")).to_have_count(6)  # the six after it
    letter.click()
    expect(page.locator(".st-key-card_cell")).to_contain_text("(token 6) attends")
    expect(page.locator(f"{ARCS} .arcs-letter.picked.pointed")).to_have_text("·")
    expect(page.locator(".st-key-cell_steps .strips-step")).to_have_count(8)
    page.locator(f"{ARCS} .arcs-letters").press("ArrowRight")
    expect(page.locator(f"{ARCS} .arcs-letter.pointed")).to_have_text("o")
