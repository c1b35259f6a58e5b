"""A class of thirty on this machine: thirty runs in a queue, thirty live boards, and pages opened meanwhile."""

import http.client
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from core.classroom import Classroom, Visitor
from core.paths import member_home
from core.presets import preset
from core.runs.ancestry import new_run
from core.runs.folder import RunFolder
from core.runs.machine import slots
from core.runs.queue import Queue
from explorer.services.visitors import COOKIE
from tests.e2e.browser import find_browser
from tests.e2e.server import Server

STUDENTS, STEPS = 30, 300
_BETWEEN = 5.0  # seconds between two pages that are opened


def measure() -> dict[str, str]:
    """Return how long the runs, first losses and pages of a class take."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "home"
        data_dir.mkdir()
        server = Server(data_dir, "--class", "Benchmark")
        try:
            return _measure(server, Classroom(data_dir))
        finally:
            server.close()


def _measure(server: Server, known: Classroom) -> dict[str, str]:
    cookies = [known.join(known.code, f"student {number}") for number in range(STUDENTS)]
    members = [(known.visitor(cookie) or Visitor()).member for cookie in cookies]
    config = preset("gpt-quick").replace({"train.steps": STEPS})
    runs = [new_run(member_home(known.root, member), config) for member in members]
    web, queue = psutil.Process(server.process.pid), Queue(known.root)
    memory = web.memory_info().rss
    done, events = threading.Event(), [0] * STUDENTS
    watching = [
        threading.Thread(target=_watch, args=(server, run, cookie, events, place, done), daemon=True)
        for place, (run, cookie) in enumerate(zip(runs, cookies, strict=True))
    ]
    begun = time.time()
    for run, member in zip(runs, members, strict=True):
        queue.put(run.id, member)
    for thread in watching:
        thread.start()
    pages = _open_pages(server, cookies, runs)
    whole = max(run.status().updated for run in runs) - begun
    done.set()
    alone = sum(run.status().seconds for run in runs) / slots()
    starts = sorted(_started(run) for run in runs)
    between = [after - before for before, after in zip(starts, starts[slots() :], strict=False)]
    return {
        f"{STUDENTS} runs of gpt-quick, {STEPS} steps each, of {STUDENTS} students": f"{whole:.0f} s",
        "the same, over the sum of their training alone": f"{whole / alone:.2f}",
        "from the start of one run to that of the next": f"{statistics.median(between):.1f} s (median)",
        f"a page until it is drawn, meanwhile ({len(pages)} pages)": (
            f"{statistics.median(pages):.1f} s, {statistics.quantiles(pages, n=20)[-1]:.1f} s at the 95th percentile"
        ),
        "streams that were served to the end": f"{sum(count > 0 for count in events)} of {STUDENTS}",
        "more memory of the web server": f"{(web.memory_info().rss - memory) / 2**20:.0f} MB",
    }


def _watch(server: Server, run: RunFolder, cookie: str, events: list[int], place: int, done: threading.Event) -> None:
    """Read the live stream of a run as its student's browser does, to the end."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", f"/api/runs/{run.id}/stream", headers={"Cookie": f"{COOKIE}={cookie}"})
    for line in connection.getresponse():
        if line.startswith(b"event: end"):
            events[place] += 1
        if done.is_set():
            return


def _open_pages(server: Server, cookies: list[str], runs: list[RunFolder]) -> list[float]:
    """Open one student's page after the other until all runs have ended; return the seconds of each."""
    seconds: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=["--no-sandbox"])
        while not all(run.status().ended for run in runs):
            cookie, run = cookies[len(seconds) % STUDENTS], runs[len(seconds) % STUDENTS]
            context = browser.new_context()
            context.add_cookies([{"name": COOKIE, "value": cookie, "url": server.url}])
            page = context.new_page()
            started = time.perf_counter()
            page.goto(f"{server.url}/train?run={run.id}")
            page.locator(".st-key-train_header h1").wait_for(timeout=120_000)
            seconds.append(time.perf_counter() - started)
            context.close()
            time.sleep(_BETWEEN)
        browser.close()
    return seconds


def _started(run: RunFolder) -> float:
    """Return when the training began, in seconds since 1970."""
    return next(row["time"] for row in run.rows("events") if row["kind"] == "start")
