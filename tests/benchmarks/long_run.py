"""Measure a run with a million rows: how soon its page shows it, and the server's memory after an hour of streaming."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import requests
from playwright.sync_api import Browser, sync_playwright

from core.runs.folder import RunFolder
from core.runs.loaded_run import cut_after
from tests.benchmarks.live import watching
from tests.benchmarks.report import report
from tests.e2e.browser import find_browser
from tests.e2e.server import ROOT, Server
from tests.long_runs import add_rows, long_run, write_picture

ROWS = 1_000_000
SHORT = 1000
ROUNDS = 3
MINUTES = 10.0  # of streaming in real time
WARM_UP = 2.0  # of them, after which memory counts
WATCHERS = 5
TICKS = 18_000  # looks of the server at a run in an hour
LAST_STEP = """() => {
    const x = document.querySelector('.st-key-live_loss .js-plotly-plot')?.data?.[0]?.x;
    return x?.length ? x[x.length - 1] : -1;
}"""


def measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "home"
        data_dir.mkdir()
        short, long = _copies(data_dir, SHORT), _copies(data_dir, ROWS)
        server = Server(data_dir)
        try:
            report(
                "A run with a million rows", [*_over_http(server, short, long), *_in_the_browser(server, short, long)]
            )
            report("A worker that goes on from the middle of a million rows", [_resume(long[-1])])
            report("Memory of the server while it streams", [_real_time(server, long[0]), _an_hour_at_once()])
        finally:
            server.close()


def _copies(data_dir: Path, rows: int) -> list[RunFolder]:
    """Return an equal run for each round, which the server then reads for the first time, and one more."""
    first = long_run(data_dir, rows)
    copies = [long_run(data_dir, SHORT) for _ in range(2 * ROUNDS)]
    for copy in copies:
        copy.metrics_path.write_bytes(first.metrics_path.read_bytes())
        copy.write_status(first.status())
    return [first, *copies]


def _over_http(server: Server, short: list[RunFolder], long: list[RunFolder]) -> list[dict[str, str]]:
    """Return the seconds from the request to the first and the last rows, at the first and a second reading."""
    seconds: dict[str, list[tuple[float, float]]] = {}
    for index in range(ROUNDS):
        for name, runs in (("thousand", short), ("million", long)):
            for again in ("", ", seen before"):
                seconds.setdefault(f"{name} rows{again}", []).append(_stream_once(server, runs[1 + index]))
    return [_row(f"stream, a {name}", measured) for name, measured in seconds.items()]


def _stream_once(server: Server, run: RunFolder) -> tuple[float, float]:
    last = run.status().step
    started, first = time.perf_counter(), 0.0
    with requests.get(f"{server.url}/api/runs/{run.id}/stream", stream=True, timeout=60) as response:
        for line in response.iter_lines(chunk_size=1 << 16):
            if line.startswith(b'data: {"rows": [{"step": ') and b'"loss"' in line:
                first = first or time.perf_counter() - started
                if f'"step": {last}, '.encode() in line:
                    return first, time.perf_counter() - started
    raise AssertionError("the stream has ended")


def _in_the_browser(server: Server, short: list[RunFolder], long: list[RunFolder]) -> list[dict[str, str]]:
    """Return the seconds from opening the address to the first curve, and to the whole one."""
    seconds: dict[str, list[tuple[float, float]]] = {"thousand": [], "million": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=["--no-sandbox"])
        _open_once(browser, server, short[0])  # the server's and the browser's own first time
        for index in range(ROUNDS):
            for name, runs in (("thousand", short), ("million", long)):
                seconds[name].append(_open_once(browser, server, runs[1 + ROUNDS + index]))
        browser.close()
    return [_row(f"Train page, a {name} rows", measured) for name, measured in seconds.items()]


def _open_once(browser: Browser, server: Server, run: RunFolder) -> tuple[float, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    started = time.perf_counter()
    page.goto(f"{server.url}/train?run={run.id}", wait_until="commit")
    page.wait_for_function(f"() => ({LAST_STEP})() >= 0", timeout=60_000)
    first = time.perf_counter() - started
    page.wait_for_function(f"() => ({LAST_STEP})() >= {run.status().step}", timeout=60_000)
    whole = time.perf_counter() - started
    page.close()
    return first, whole


def _row(what: str, measured: list[tuple[float, float]]) -> dict[str, str]:
    first, whole = (f"{statistics.median(times):.2f} s" for times in zip(*measured, strict=True))
    return {"what": what, "first rows": first, "all of it": whole}


def _resume(run: RunFolder) -> dict[str, str]:
    """Time what a worker reads and cuts before it resumes a thousand steps back."""
    started = time.perf_counter()
    cut_after(run, ROWS - 1000)
    run.last_metrics()
    return {"rows cut": "1000", "milliseconds": f"{1000 * (time.perf_counter() - started):.1f}"}


def _real_time(server: Server, run: RunFolder) -> dict[str, str]:
    """Stream a run of a million rows as it grows; other watchers replace the present ones every minute."""
    web = psutil.Process(server.process.pid)
    step, minutes, memory = ROWS, [], []
    began = time.monotonic()
    while (now := (time.monotonic() - began) / 60) < MINUTES:
        with watching(server, run, WATCHERS) as poll:
            while (time.monotonic() - began) / 60 < now + 1:
                add_rows(run, step, 5)
                write_picture(run, step)
                step += 5
                poll(0.2)
                minutes.append((time.monotonic() - began) / 60)
                memory.append(web.memory_info().rss / 2**20)
    return _growth(
        f"{MINUTES:.0f} minutes, {WATCHERS} watchers", np.array(minutes) / 60, np.array(memory), WARM_UP / 60
    )


def _growth(what: str, hours: np.ndarray, memory: np.ndarray, warm_up: float) -> dict[str, str]:
    """Return memory at both ends, and the slope of a straight line through the megabytes after the warm-up."""
    counted = hours >= warm_up
    slope = np.polyfit(hours[counted], memory[counted], 1)[0]
    start, end = memory[counted][0], memory[-1]
    return {
        "what": what,
        "after warming up": f"{start:.0f} MB",
        "at the end": f"{end:.0f} MB",
        "growth an hour": f"{slope:+.1f} MB",
    }


def _an_hour_at_once() -> dict[str, str]:
    """Make the checks of an hour as fast as possible, in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.hour", folder, str(TICKS), str(WATCHERS)]
        environment = {**os.environ, "GPT_EXPLORER_HOME": folder}
        said = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    hours, memory = np.array([[float(number) for number in line.split()] for line in said.splitlines()]).T
    return _growth(f"{TICKS:,} looks at once, {WATCHERS} watchers", hours, memory, 0.2)
