"""Every page opened by its own address: nothing on the console, and a focus that is seen."""

import shutil

import pytest
from playwright.sync_api import expect

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


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_log_no_error_and_show_the_focus(server, open_page, trained_home, theme):
    shutil.copytree(trained_home, server.data_dir, dirs_exist_ok=True)
    page = open_page(color_scheme=theme)
    errors = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    rings = 0
    for address in ("", "data", "train", "generate", "look_inside?view=Attention", "learn?lesson=gpt", "play", "runs"):
        page.goto(f"{server.url}/{address}")
        expect(page.locator(".stMain :is(h1, h2)").first).to_be_visible()
        expect(page.locator(".stApp")).to_have_attribute("data-test-script-state", "notRunning")
        # A part may be there a moment before its style.
        page.wait_for_function(
            f"() => ({RINGS})().every(([, width, contrast]) => width >= 2 && contrast >= 3)", polling=500
        )
        for name, width, contrast in page.evaluate(RINGS):
            assert width >= 2 and contrast >= 3, (address, name, width, contrast)
            rings += 1
    assert not errors and rings
