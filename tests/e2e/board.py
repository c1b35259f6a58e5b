"""Steps that several browser tests share: wait for a page, watch a run, look inside, generate."""

import re
from typing import Any

import psutil
from playwright.sync_api import Page, expect

from core.runs.folder import RunFolder

POINTS = """() => document.querySelector('.st-key-live_loss .js-plotly-plot')?.data
    ?.find(trace => trace.name === 'validation')?.x?.length ?? 0"""


def on_the_board(page: Page) -> str:
    """Wait for the page of a run that was just started, and return its id."""
    page.wait_for_url(re.compile(r"/train\?.*run="))
    wait_for_points(page, more_than=2)
    return re.search(r"run=([0-9a-z-]+)", page.url)[1]


def wait_until(page: Page, condition: str, arg: Any = None, polling: int = 100, timeout: float | None = None) -> None:
    """Wait for a condition in the browser. Checking before every frame, Playwright's default, takes 13 % of a core.

    The condition must not be `async`: Playwright takes a promise as true and does not wait at all.
    """
    assert not condition.lstrip().startswith("async"), condition
    page.wait_for_function(condition, arg=arg, polling=polling, timeout=timeout)


def at_rest(page: Page) -> None:
    """Wait until Streamlit has drawn the page: an earlier upload or click may be lost."""
    expect(page.locator(".stApp")).to_have_attribute("data-test-script-state", "notRunning")


def wait_for_points(page: Page, more_than: int) -> None:
    wait_until(page, f"() => ({POINTS})() > {more_than}", timeout=120_000)


def leave_cores_to_pages(run: RunFolder) -> None:
    """Give a run a low priority, so that browsers and servers come first: no test waits for it."""
    psutil.Process(run.status().pid).nice(10)


def walk_to(page: Page, name: str) -> None:
    """Open a page through the sidebar, as a person would, with the viewed run."""
    page.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def watch(page: Page) -> None:
    """Check the live views of a run, and that its curve has grown after a reload."""
    expect(page.locator(".st-key-live_attention canvas").first).to_be_visible()
    expect(page.locator(".st-key-live_embedding text").first).to_be_visible()
    expect(page.locator(".st-key-live_samples")).to_contain_text("step 0")
    before = page.evaluate(POINTS)
    page.reload()
    wait_for_points(page, more_than=before)


def look_inside(page: Page) -> None:
    expect(page.locator(".model-square").first).to_be_visible()
    page.locator(".st-key-inspect_view").get_by_role("radio", name="Attention").click()
    prompt = page.locator(".st-key-inspect_prompt input")
    prompt.fill("To be, or not")
    prompt.press("Enter")
    expect(page.locator(".st-key-inspect_board canvas").first).to_be_visible()
    # The run continues, so the page reruns now and then and briefly shows old and new elements together.
    option = page.get_by_role("option", name="head 3")
    while not option.is_visible():  # a rerun closes an open list
        page.locator(".st-key-inspect_head input").first.click()
        page.wait_for_function("document.querySelector('[role=option]') || !document.activeElement.matches('input')")
    option.click()
    expect(page.get_by_role("heading", name=re.compile(r"^Attention pattern, head 1\.3"))).to_be_visible()
    expect(page.locator(".st-key-inspect_heatmap canvas").first).to_be_visible()


def generate(page: Page) -> None:
    readout = page.locator(".generated-readout")
    expect(readout).to_contain_text("perplexity")  # text is generated on entry
    page.locator(".generated-text .letter").first.evaluate("letter => letter.classList.add('of-before')")
    page.locator(".st-key-generate_go button").click()
    expect(page.locator(".generated-text .of-before")).to_have_count(0)
    expect(readout).to_contain_text("perplexity")
    page.locator(".generated-text .letter").nth(5).click()
    expect(page.locator(".generated-panel")).to_contain_text("%")
    # Choosing an alternative to the sixth letter continues the text from there.
    before = page.locator(".generated-text .letter").evaluate_all(
        "all => all.slice(0, 5).map((each) => each.innerText).join('')"
    )
    branch = page.locator(".panel-row.branch").first
    token = branch.locator(".panel-name").inner_text()
    branch.click()
    prompt = page.locator(".generated-text .prompt")
    expect(prompt).not_to_have_text(re.compile(f"^{re.escape(before)}$"))
    expect(page.locator(".st-key-generate_prompt textarea")).to_have_value(
        re.compile(f"{re.escape(token)}$".replace("·", " ").replace("⏎", "\n"))
    )
