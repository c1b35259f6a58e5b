"""The picture of the model, as a person uses it: played, opened down to one number, moved in time, by keyboard."""

import re

import pytest
from playwright.sync_api import Page, expect

from core.runs.weights import steps_with_weights
from tests.e2e.board import at_rest, wait_until
from tests.e2e.test_time_machine import PICTURE, run, wait_for_frame  # noqa: F401 - a fixture

pytestmark = pytest.mark.e2e

MOVED = "([canvas, before]) => canvas.toDataURL() !== before"
FOCUSED = "document.activeElement.shadowRoot.activeElement.getAttribute('aria-label')"


def drawn(page: Page) -> Page:
    expect(page.locator(".model-square").first).to_be_visible()
    wait_for_frame(page)
    return page


def test_the_model_picture_is_played_opened_and_moved_in_time(server, open_page, run):  # noqa: F811
    page = open_page(reduced_motion="reduce")
    page.goto(f"{server.url}/look_inside?run={run.id}")
    says = drawn(page).locator(".model-says")
    expect(says).to_contain_text("Most likely next")
    tokens = page.locator(".model-token")
    expect(page.locator(".model-square")).to_have_count(4)

    # Contributions instead of attention; another token.
    page.get_by_role("button", name="Contributions", exact=True).click()
    expect(page.locator(".model-sum").last).to_contain_text("logit")
    tokens.nth(2).click()
    expect(tokens.nth(2)).to_have_attribute("aria-selected", "true")
    page.get_by_role("button", name="Attention", exact=True).click()

    # One token is played: stage by stage to the sample, which is appended.
    count = tokens.count()
    step = page.get_by_role("button", name="Next stage")
    step.click()
    expect(says).to_contain_text("cut into tokens")
    while "Sampling at temperature" not in says.inner_text():
        step.click()
    expect(page.locator(".model-sampled")).to_have_count(1)
    step.click()
    expect(tokens).to_have_count(min(count + 1, 16))  # the context is 16 tokens
    page.get_by_role("button", name="Start over").click()
    expect(tokens).to_have_count(count)

    # One training step on the text is played backwards, and undone.
    page.get_by_role("button", name="One training step").click()
    expect(page.get_by_role("button", name="Undo the step")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    while "step on this text alone" not in says.inner_text():
        step.click()
    expect(page.locator(".model-sum").first).to_contain_text("Δ")
    page.get_by_role("button", name="Undo the step").click()
    expect(says).to_contain_text("Most likely next")

    # The slider changes the step.
    square = page.locator(".model-square canvas").first
    before = square.evaluate(PICTURE)
    page.locator(".st-key-time_step input[type=range]").press("Home")
    expect(page.locator(".st-key-time_step .time-readout b")).to_have_text(
        re.compile(f"^Step {steps_with_weights(run)[0]} of")
    )
    wait_for_frame(page)
    wait_until(page, MOVED, arg=[square.element_handle(), before])

    # A head opens down to one number; the address names it and opens it again.
    page.locator(".model-square").nth(3).click()
    expect(page.locator(".model-opened h2")).to_have_text("Head 2.2")
    page.wait_for_url(re.compile("part=head-2.2"))
    page.locator(".model-tensor canvas").first.click(position={"x": 3, "y": 60})
    expect(page.locator(".strips-step")).to_have_count(8)
    page.wait_for_url(re.compile(r"part=head-2.2%40\d+\.1(&|$)"))
    products = page.locator(".strips-step").nth(2).inner_text()
    page.reload()
    expect(page.locator(".model-opened h2")).to_have_text("Head 2.2")
    expect(page.locator(".strips-step").nth(2)).to_have_text(re.compile(re.escape(products.split("\n")[0])))

    # Escape returns to the picture, and the browser's Back to the part.
    page.locator(".model-opened button").first.focus()
    page.keyboard.press("Escape")
    drawn(page)
    page.wait_for_url(lambda url: "part=" not in url)
    page.go_back()
    expect(page.locator(".model-opened h2")).to_have_text("Head 2.2")


def test_the_arrow_keys_move_the_focus_through_the_parts(server, open_page, run):  # noqa: F811
    page = open_page(reduced_motion="reduce")
    page.goto(f"{server.url}/look_inside?run={run.id}")
    drawn(page).locator(".model-part").first.focus()
    names = []
    for _part in range(10):
        names.append(page.evaluate(FOCUSED))
        page.keyboard.press("ArrowRight")
    assert [name.split(".")[0] for name in names if not name.startswith("Head")] == [
        "Embedding", "Attention 1", "MLP 1", "Attention 2", "MLP 2", "Next token",
    ]  # fmt: skip
    page.keyboard.press("ArrowUp")
    expect(page.locator(".model-token").nth(-2)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.locator(".model-opened h2")).to_have_text("Output")
    # The focus follows; the keys choose the token, in a head also its key, and Escape returns.
    tokens = page.locator(".model-opened .model-token")
    expect(tokens.nth(-2)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    expect(tokens.nth(-3)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(tokens.nth(-2)).to_have_attribute("aria-selected", "true")
    page.wait_for_url(re.compile(r"part=output%40\d+"))
    page.keyboard.press("Escape")
    drawn(page)
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(FOCUSED).startswith("MLP 2")


def test_home_shows_a_model_that_writes_with_the_weights_of_the_chosen_step(server, open_page):
    page = open_page()
    page.goto(server.url)
    written, prompt = page.locator(".model-written"), "ROMEO:⏎"
    expect(written).to_have_text(re.compile(f"^{prompt}.{{3,}}"))  # by itself
    page.locator(".st-key-home_bar input[type=range]").press("Home")
    expect(page.locator(".st-key-home_bar .time-readout b")).to_have_text("Step 0 of 6,000")
    now = written.inner_text()
    expect(written).not_to_have_text(now)  # it continues with the weights of step 0
    page.get_by_role("button", name="Pause", exact=False).last.click()
    expect(page.get_by_role("button", name="Write on")).to_be_visible()
    # A part opens in place, and Escape returns.
    page.locator(".model-square").first.click()
    expect(page.locator(".model-opened h2")).to_have_text("Head 1.1")
    page.locator(".model-opened button").first.press("Escape")
    expect(page.locator(".model-square").first).to_be_visible()


PLACES = """(root) => ["h1", ".st-key-home_ways", ".st-key-home_bar", ".st-key-home_picture"].map((part) => {
  const { left, top, width, height } = document.querySelector(`${root} ${part}`).getBoundingClientRect();
  return [left, top, width, height].map(Math.round);
})"""


@pytest.mark.parametrize("size", [{"width": 1280, "height": 720}, {"width": 390, "height": 844}, {"width": 700}])
def test_home_shows_its_picture_before_streamlit_and_nothing_shifts(server, open_page, size):
    page, waiting = open_page(**size), []
    page.route("**/static/js/index.*", lambda route: waiting.append(route), times=1)
    page.goto(server.url)
    expect(page.locator(".prerendered .model-square canvas").first).to_be_visible()
    expect(page.locator(".prerendered .time-loss")).to_contain_text("validation loss")
    assert page.title() == "GPT Explorer"
    written = page.locator(".model-written")
    prerendered, drawn = page.evaluate(PLACES, ".prerendered"), written.element_handle()
    for held in waiting:
        held.continue_()
    expect(page.locator(".stApp .st-key-home_picture .model-square").first).to_be_visible()
    expect(page.locator(".prerendered, .prerendered-side")).to_have_count(0)
    assert page.evaluate(PLACES, ".stApp") == prerendered
    assert drawn.evaluate("node => node.isConnected")  # the same element was moved and keeps writing
    expect(written).not_to_have_text(written.inner_text())


def test_streamlit_draws_home_if_prerendering_fails(server, open_page):
    page, script = open_page(), "**/page/prerender.js"
    page.route(script, lambda route: route.fulfill(content_type="text/javascript", body="throw new Error('damaged')"))
    page.goto(server.url)
    expect(page.locator(".stMain .model-square canvas").first).to_be_visible()
    expect(page.locator(".prerendered, .prerendered-side")).to_have_count(0)
    page.unroute(script)


ONE_VIEW = """async () => {
  const { mountOnce } = await import("gpt-explorer/shared/mount.js");
  const parentElement = document.body.appendChild(document.createElement("div"));
  const palettes = { light: {}, dark: {} };
  const mount = () => mountOnce({ parentElement, data: { palettes, sentences: { language: "en" } } }, () => ({}));
  const [first, second] = [mount(), mount()];
  const views = [];
  for (const clean of [first, second]) {
    clean();
    views.push(parentElement.children.length);
  }
  parentElement.remove();
  second();
  return [...views, parentElement.children.length];
}"""


def test_prerendered_parts_are_removed_on_other_pages_and_views_are_mounted_once(server, open_page):
    page = open_page()
    page.goto(f"{server.url}/runs")
    expect(page.locator(".stMain h1")).to_be_visible()
    drawn = "document.body.append(Object.assign(document.createElement('div'), { className: 'prerendered' }))"
    module = "import('gpt-explorer/page/prerender.js')"
    mount = f"{module}.then(({{ prerender }}) => prerender(document.querySelector('.prerendered'), []))"
    page.evaluate(f"{drawn}; {mount}")
    expect(page.locator(".prerendered")).to_have_count(0)
    assert page.evaluate(ONE_VIEW) == [1, 1, 0]


CHANGES = """() => {
  window.moved = [];
  const note = (all) => window.moved.push(...all.map(({ target }) => target.className || target.data));
  for (const { shadowRoot } of document.querySelectorAll("[class*=st-key-home] *")) {
    const what = { subtree: true, childList: true, characterData: true, attributes: true };
    if (shadowRoot) new MutationObserver(note).observe(shadowRoot, what);
  }
}"""


def test_with_reduced_motion_nothing_on_home_moves_by_itself(server, open_page):
    page = open_page(reduced_motion="reduce")
    page.goto(server.url)
    drawn(page)
    expect(page.locator(".st-key-home_bar .time-readout b")).to_have_text("Step 6,000 of 6,000")
    at_rest(page)
    expect(page.locator(".prerendered")).to_have_count(0)
    page.evaluate(CHANGES)
    another = open_page()
    another.goto(server.url)
    expect(another.locator(".model-written")).to_have_text(
        re.compile("^ROMEO:⏎.{4,}")
    )  # here, the model has written more
    assert page.evaluate("window.moved") == []
    assert page.evaluate("document.getAnimations().filter(({ playState }) => playState === 'running').length") == 0
    expect(page.locator(".model-written")).to_have_text("ROMEO:⏎")
    page.get_by_role("button", name="Write on").click()
    expect(page.locator(".model-written")).to_have_text(re.compile("^ROMEO:⏎."))
