"""Every page, opened by its address, has no console errors, visible focus and no serious axe-core violation."""

from importlib.resources import files

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.e2e.board import at_rest, wait_until

pytestmark = pytest.mark.e2e

# The contrast of the focus ring of all links and buttons, and of everything focusable in our components.
RINGS = """() => {
  const rgb = (color) => (color.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = (color) => {
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const part = rgb(color).slice(0, 3).map((value) => linear(value / 255));
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const ratio = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const background = getComputedStyle(document.querySelector(".stApp")).backgroundColor;
  const found = [];
  const own = [...document.querySelectorAll("*")].map((host) => host.shadowRoot).filter(Boolean);
  for (const root of [document, ...own]) {
    const parts = "button, input, a[href], [tabindex]";
    for (const node of root.querySelectorAll(root === document ? ".stApp :is(a[href], button)" : parts)) {
      if (root === document && node.tabIndex < 0) continue;
      if (!node.getClientRects().length || node.disabled) continue;
      node.focus({ focusVisible: true, preventScroll: true });
      if (root.activeElement !== node) continue;
      const style = getComputedStyle(node);
      const contrast = ratio(style.outlineColor, background);
      found.push([node.className || node.tagName, parseFloat(style.outlineWidth), contrast]);
    }
  }
  return found;
}"""


BACKGROUND = """dark => {
  const app = document.querySelector(".stApp");  // Home has its heading before Streamlit has begun
  if (!app) return false;
  const [red] = getComputedStyle(app).backgroundColor.match(/[\\d.]+/g).map(Number);
  return red < 128 === dark;
}"""
FAINT = "([, width, contrast]) => width < 2 || contrast < 3"
AXE = files("axe_playwright_python").joinpath("axe.min.js")
# A rule and the elements with which Streamlit breaks it, which no setting of ours can fix.
EXCEPTED = (("scrollable-region-focusable", ".stCode pre"),)  # browsers make scrollable boxes focusable themselves
SEEN_BADLY = """async ([rules, excepted]) => {
  const options = { resultTypes: ["violations"], elementRef: true, ...(rules && { runOnly: rules }) };
  const { violations } = await axe.run(document, options);
  const serious = violations.filter(({ id, impact }) => /serious|critical/.test(impact) || id === "heading-order");
  return serious.flatMap(({ id, nodes }) => nodes
    .filter(({ element }) => !excepted.some(([rule, selector]) => rule === id && element.matches(selector)))
    .map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`));
}"""
# Larger drawings without an accessible name of their own or of an enclosing element.
NAMELESS = """() => {
  const drawings = "svg:not(#js-plotly-tester), canvas:not([data-testid=data-grid-canvas]), .js-plotly-plot";
  const own = [...document.querySelectorAll("*")].map((host) => host.shadowRoot).filter(Boolean);
  const above = (node) => node.parentElement ?? node.getRootNode().host;
  const named = (node) => /^(img|figure|application)$/.test(node.role) && node.ariaLabel;
  const speaks = (node) => Boolean(node) && (named(node) || speaks(above(node)));
  const large = ({ width, height }) => width > 90 && height > 40;
  return [document, ...own].flatMap((root) => [...root.querySelectorAll(drawings)])
    .filter((each) => large(each.getBoundingClientRect()) && !speaks(each))
    .map((each) => each.outerHTML.slice(0, 200));
}"""
# A document's animations do not include those in its components.
SETTLED = """() => [document, ...[...document.querySelectorAll("*")].map((host) => host.shadowRoot).filter(Boolean)]
  .every((root) => !root.getAnimations().some((each) => each instanceof CSSTransition)
    && !root.querySelector(".snapshot-waits"))"""
MAX_SHIFT = 0.1  # for a whole load, "good" in Google's Core Web Vitals; under 0.05 unless the machine is busy
VIEWS = (
    "Attention",
    "Heads",
    "Health",
    "Predictions",
    "Embeddings",
    "Surgery",
    "Patching",
    "Neurons",
    "Losses",
    "Text",
    "Model",
)
PAGES = (
    "", "data", "train", "train?run={run}", "generate", "learn", "learn?lesson=gpt", "play", "runs",
    *(f"look_inside?run={{run}}&view={view}" for view in VIEWS),
)  # fmt: skip


def seen_badly(page: Page, rules: list[str] | None) -> list[str]:
    """Return axe-core's violations for a settled page: while a job redraws it, its colors are faint."""
    complaints = page.evaluate(SEEN_BADLY, [rules, EXCEPTED])
    for _again in range(5):
        if not complaints:
            break
        page.wait_for_timeout(1000)
        at_rest(page)
        wait_until(page, SETTLED)
        complaints = page.evaluate(SEEN_BADLY, [rules, EXCEPTED])
    return complaints


@pytest.mark.parametrize("address", PAGES)
def test_every_page_is_accessible_in_light_and_dark_and_does_not_shift(server, open_page, trained_run, address):
    page = open_page()
    themes = ["light", "dark"] if PAGES.index(address) % 2 else ["dark", "light"]
    page.emulate_media(color_scheme=themes[0])
    page.goto(f"{server.url}/{address.format(run=trained_run.id)}")
    expect(page.locator(".stMain h1")).to_have_count(1)
    for theme in themes:
        page.emulate_media(color_scheme=theme)
        wait_until(page, BACKGROUND, arg=theme == "dark")
        at_rest(page)
        # An element may appear shortly before its style.
        distinct = f"() => {{ const rings = ({RINGS})(); return rings.length > 0 && !rings.some({FAINT}); }}"
        try:
            wait_until(page, distinct, polling=500)
        except TimeoutError:
            raise AssertionError((theme, page.evaluate(f"() => ({RINGS})().filter({FAINT})"))) from None
        wait_until(page, SETTLED)
        if theme == themes[0]:
            page.evaluate(AXE.read_text(encoding="utf-8"))
        try:  # a drawing gets its name with the elements below it
            wait_until(page, f"() => ({NAMELESS})().length === 0", polling=500)
        except TimeoutError:
            raise AssertionError((theme, page.evaluate(NAMELESS))) from None
        rules = None if theme == themes[0] else ["color-contrast"]  # no other rule depends on the theme
        assert seen_badly(page, rules) == []
    shifts = page.evaluate("window.shifts.map((each) => each.value)")
    assert sum(shifts) < MAX_SHIFT, shifts


def test_on_a_phone_a_button_and_what_it_makes_come_before_the_settings(server, open_page):
    page = open_page(width=390, height=844)
    page.goto(f"{server.url}/generate?run=gallery-shakespeare")
    expect(page.locator(".generated-readout")).to_contain_text("perplexity")  # it writes on entry
    page.locator(".st-key-generate_go button").click()
    expect(page.locator(".generated-text .letter").first).to_be_in_viewport()
    page.goto(f"{server.url}/train")
    expect(page.locator(".st-key-train_start button")).to_be_enabled()
    tops = [
        page.locator(f".st-key-{card}").bounding_box()["y"]
        for card in ("start_from", "estimate", "settings_architecture")
    ]
    assert tops == sorted(tops)


def test_the_help_of_a_card_does_not_cover_what_it_explains(server, open_page):
    page = open_page(height=720)
    page.goto(f"{server.url}/generate?run=gallery-shakespeare")
    expect(page.locator(".generated-readout")).to_contain_text("perplexity")
    title, shown = page.locator(".st-key-card_written h2"), page.get_by_test_id("stTooltipContent")
    place = "(title, top) => document.querySelector('.stMain').scrollBy(0, title.getBoundingClientRect().top - top)"
    for top in (300, 90, 20):  # pixels from the upper edge of the window to the title
        title.evaluate(place, top)
        title.get_by_test_id("stTooltipHoverTarget").hover()
        bubble, text = shown.bounding_box(), page.locator(".generated-text").bounding_box()
        above, below = text["y"], text["y"] + text["height"]
        assert bubble["y"] >= 0 and (bubble["y"] + bubble["height"] <= above or bubble["y"] >= below), top
        page.mouse.move(0, 0)
        expect(shown).to_have_count(0)
