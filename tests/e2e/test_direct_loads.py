"""Every page opened by its own address: nothing on the console, and a focus that is seen."""

import pytest
from playwright.sync_api import TimeoutError, expect

from tests.e2e.board import wait_until

pytestmark = pytest.mark.e2e

# Of all links and buttons, and of all that takes the keyboard in our components: the contrast of the ring.
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
  const [red] = getComputedStyle(document.querySelector(".stApp")).backgroundColor.match(/[\\d.]+/g).map(Number);
  return red < 128 === dark;
}"""
FAINT = "([, width, contrast]) => width < 2 || contrast < 3"
PAGES = ("", "data", "train", "generate", "look_inside?view=Attention", "learn?lesson=gpt", "play", "runs")


def test_pages_log_no_error_and_show_the_focus_in_light_and_dark(server, open_page, trained_run):
    page, themes = open_page(), ["light", "dark"]
    for address in PAGES:
        page.emulate_media(color_scheme=themes[0])
        page.goto(f"{server.url}/{address}")
        expect(page.locator(".stMain :is(h1, h2)").first).to_be_visible()
        for theme in themes:
            page.emulate_media(color_scheme=theme)
            wait_until(page, BACKGROUND, arg=theme == "dark")
            expect(page.locator(".stApp")).to_have_attribute("data-test-script-state", "notRunning")
            # A part may be there a moment before its style.
            distinct = f"() => {{ const rings = ({RINGS})(); return rings.length > 0 && !rings.some({FAINT}); }}"
            try:
                wait_until(page, distinct, polling=500)
            except TimeoutError:
                raise AssertionError((address, theme, page.evaluate(f"() => ({RINGS})().filter({FAINT})"))) from None
        themes.reverse()  # the next page is opened in the other one
