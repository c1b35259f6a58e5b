"""Time the drawing of all attention heads of GPT-2 in a browser: 12 x 12 patterns of 64 tokens."""

import statistics
from dataclasses import asdict
from urllib.parse import urlsplit

from playwright.sync_api import Route, sync_playwright

from core.interpretability.attention import attention_patterns, to_bytes
from core.model import build_model
from core.palette import LIGHT
from core.presets import preset
from explorer.components.modules import COMPONENTS
from tests.e2e.browser import find_browser

LAYERS, HEADS, LENGTH = 12, 12, 64
ROUNDS = 30  # the first, which also compiles the code, is reported separately

# A frame is over when the next but one begins: by then what was drawn has been handed on to the screen.
DRAW = """async ([bytes, palette, layers, heads, length]) => {
    const tokens = Array.from({ length }, (_, place) => "etaoin shr"[place % 10]);
    const { attentionHeatmaps } = await import("http://board/shared/heatmaps.js");
    const board = attentionHeatmaps(document.body.appendChild(document.createElement("div")));
    const frame = () => new Promise(requestAnimationFrame);
    const times = [];
    for (let round = 0; round < ROUNDS; round++) {
        const fresh = Uint8Array.from(bytes, (byte, at) => (byte + round * (byte > 0)) & 255);
        await frame();
        const began = performance.now();
        board.show({ layers, heads, length, tokens, bytes: fresh, palette });
        const drawn = performance.now() - began;
        await frame();
        await frame();
        times.push([drawn, performance.now() - began]);
    }
    const canvas = document.querySelector("canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return { times, colors: new Set(new Uint32Array(pixels.buffer)).size };
}"""


def measure() -> dict[str, str]:
    """Time the drawing. Random weights attend a little everywhere, so no cell is cheaper than in a trained model."""
    model = build_model(preset("gpt2").model.model_copy(update={"n_embd": 48}), 256).eval()
    patterns = attention_patterns(model, [(7 * place) % 256 for place in range(LENGTH)])
    assert patterns.shape == (LAYERS, HEADS, LENGTH, LENGTH)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.route("http://board/**", _send)
        page.goto("http://board/")
        asked = [to_bytes(patterns).flatten().tolist(), asdict(LIGHT), LAYERS, HEADS, LENGTH]
        found = page.evaluate(DRAW.replace("ROUNDS", str(ROUNDS)), asked)
        browser.close()
    assert found["colors"] > 20  # something was drawn
    (first, _), *_ = found["times"]
    drawing = sorted(drawn for drawn, _ in found["times"][1:])
    shown = statistics.median(shown for _, shown in found["times"][1:])
    return {
        "12 x 12 heads at 64 tokens, drawn": f"{statistics.median(drawing):.0f} ms (median), {drawing[-1]:.0f} at most",
        "the first time": f"{first:.0f} ms",
        "until the browser's next frame but one": f"{shown:.0f} ms (median)",
    }


def _send(route: Route) -> None:
    """Respond with a module of the components, or with an empty page."""
    if name := urlsplit(route.request.url).path.strip("/"):
        route.fulfill(path=COMPONENTS / name)
    else:
        route.fulfill(body="<!doctype html><body>", content_type="text/html")
