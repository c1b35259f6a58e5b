"""Time the picture of the whole model in a browser: when it opens, after a move of the slider, and while it plays."""

import os
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from core.presets import preset
from core.runs.folder import RunFolder
from core.runs.worker import train_run
from tests.e2e.browser import find_browser
from tests.e2e.server import Server

SNAPSHOTS = 12
ROUNDS = 5  # fresh servers
VIEWPORT = {"width": 1280, "height": 720}
PLAYED = 4.0  # seconds that frames are counted for
PROMPT = "First Citizen: before we proceed any further, hear me speak. All"  # 64 characters
MOVE = """async ([slider, square, value]) => {
    const root = square.getRootNode();
    const drawn = () => [...root.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL()).join();
    const before = drawn(), began = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    while (drawn() === before) {
        await new Promise(requestAnimationFrame);
        if (performance.now() - began > 20000) throw new Error("no new picture");
    }
    return performance.now() - began;
}"""
FRAMES = """async (seconds) => {
    const times = [performance.now()];
    while (times.at(-1) - times[0] < 1000 * seconds) times.push(await new Promise(requestAnimationFrame));
    return (times.length - 1) / (times.at(-1) - times[0]) * 1000;
}"""


def measure() -> dict[str, str]:
    """Return the seconds and frames of Home, and of models of 4/4/128 and 12/12/768 with 64 tokens."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data_dir = Path(folder) / "home"
        (data_dir / "runs").mkdir(parents=True)
        small = _trained(data_dir, "gpt-tiny", {"train.steps": 240, "train.snapshots": SNAPSHOTS})
        large = _trained(data_dir, "gpt2", {"train.steps": 1, "train.snapshots": 0, "model.block_size": 64})
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=["--no-sandbox"])
        try:
            return {
                **_moves(browser, data_dir, f"/look_inside?run={small.id}&prompt={PROMPT}"),
                **_openings(browser, data_dir, "Home, the picture of a model of the gallery", "/"),
                **_openings(browser, data_dir, "12/12/768, 64 tokens", f"/look_inside?run={large.id}&prompt={PROMPT}"),
            }
        finally:
            browser.close()


def _moves(browser: Browser, data_dir: Path, address: str) -> dict[str, str]:
    server, page = Server(data_dir), browser.new_page(viewport=VIEWPORT)
    try:
        _open(page, server.url + address)
        slider = page.locator(".st-key-time_step input[type=range]").element_handle()
        square = page.locator(".model-square canvas").first.element_handle()
        most = int(slider.get_attribute("max"))
        moves = [page.evaluate(MOVE, [slider, square, str(place)]) for place in range(most - 1, -1, -1)]
        page.get_by_role("button", name="One token").click()
        frames = page.evaluate(FRAMES, PLAYED)
    finally:
        page.close()
        server.close()
    return {
        "4/4/128, 64 tokens: from a move of the slider to the new picture": (
            f"{statistics.median(moves):.0f} ms (median of {len(moves)}), {max(moves):.0f} at most"
        ),
        "4/4/128: frames a second while one token plays": f"{frames:.0f}",
    }


def _openings(browser: Browser, data_dir: Path, what: str, address: str) -> dict[str, str]:
    """Return the seconds from the request of a page to its picture, at first and once server or browser know it."""
    first, cold, warm, whole = [], [], [], []
    for _ in range(ROUNDS):
        server = Server(data_dir)
        try:
            for seconds in (first, cold):
                context = browser.new_context(viewport=VIEWPORT)
                for opened in (seconds, warm):
                    page = context.new_page()
                    opened.append(_open(page, server.url + address))
                    if opened is cold:
                        whole.append(cold[-1] + _wait(page, ".stApp .model-square canvas"))
                    page.close()
                context.close()
        finally:
            server.close()
    median = statistics.median
    return {
        f"{what}: from the request to the picture, first page of a fresh server": f"{median(first):.2f} s",
        f"{what}: the same in a running server, in a browser with an empty cache": f"{median(cold):.2f} s",
        f"{what}: until Streamlit's page is there too": f"{median(whole):.2f} s",
        f"{what}: to the picture in a browser that knows Streamlit's scripts": f"{median(warm):.2f} s",
    }


def _trained(data_dir: Path, name: str, changes: dict[str, int]) -> RunFolder:
    short = {"train.batch_size": 1, "train.eval_interval": 1000, "train.eval_windows": 1, "train.sample_length": 1}
    same = {"data.corpus": "shakespeare", "train.precision": "float32"}
    folder = RunFolder.create(data_dir, preset(name).replace(short | same | changes))
    train_run(folder, data_dir, threads=os.cpu_count())
    return folder


def _open(page: Page, address: str) -> float:
    """Return the seconds until the picture of the model is drawn."""
    started = time.perf_counter()
    page.goto(address, timeout=120_000, wait_until="commit")
    _wait(page, ".model-square canvas")
    return time.perf_counter() - started


def _wait(page: Page, selector: str) -> float:
    """Return the seconds until it is drawn."""
    started = time.perf_counter()
    page.locator(selector).first.wait_for(timeout=120_000)
    return time.perf_counter() - started
