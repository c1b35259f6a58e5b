"""Measure how soon, how often and at what cost the page of a live run is updated, with 0, 1, 10 and 30 watchers."""

import selectors
import socket
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from core.presets import preset
from core.runs.folder import RunFolder
from core.runs.queue import Queue
from tests.e2e.browser import find_browser
from tests.e2e.server import Server

WINDOW = 10.0  # seconds a number of watchers is measured for
ROUNDS = 3  # interleaved, because the machine's speed drifts


def measure() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "home"
        data_dir.mkdir()
        server = Server(data_dir)
        try:
            return {**_first_sign_of_life(server), **_watchers(server)}
        finally:
            server.close()


def _first_sign_of_life(server: Server) -> dict[str, str]:
    """Return the seconds from the click on Home's button to the first loss in a real browser, over several runs."""
    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=["--no-sandbox"])
        for _ in range(ROUNDS + 1):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{server.url}/train?preset=gpt-quick")
            button = page.locator(".st-key-train_start button")
            button.wait_for()
            page.wait_for_load_state("networkidle")
            _wait_for_fork_server(server)
            started = time.perf_counter()
            button.click()
            page.wait_for_function(FIRST_POINT, timeout=60_000)
            seconds.append(time.perf_counter() - started)
            page.locator(".st-key-train_stop button").click()
            page.locator(".st-key-train_resume button").wait_for()
            page.close()
        browser.close()
    return {"click on Train to first loss on the page": f"{statistics.median(seconds[1:]):.2f} s (median)"}


def _wait_for_fork_server(server: Server) -> None:
    """Wait until the next worker has imported torch, as for a visitor who reads the page first."""
    while (
        not (started := psutil.Process(server.process.pid).children())
        or max(process.cpu_percent(interval=1.0) for process in started) > 2
    ):
        continue


FIRST_POINT = """() => (document.querySelector('.st-key-live_loss .js-plotly-plot')?.data ?? [])
    .some(trace => trace.name === 'validation' && trace.x?.length > 0)"""


def _watchers(server: Server) -> dict[str, str]:
    """Return the server's CPU time and the training speed for each number of watchers, in interleaved rounds."""
    run = _long_run(server)
    counts = (0, 1, 10, 30)
    cpu, speed, rate = ({count: [] for count in counts} for _ in range(3))
    web = psutil.Process(server.process.pid)
    worker = psutil.Process(run.status().pid)
    for _ in range(ROUNDS):
        for count in counts:
            with watching(server, run, count) as poll:
                before, step, started = sum(web.cpu_times()[:2]), _last_step(run), time.perf_counter()
                events = poll(WINDOW)
                elapsed = time.perf_counter() - started
                cpu[count].append((sum(web.cpu_times()[:2]) - before) / elapsed)
                speed[count].append((_last_step(run) - step) / elapsed)
                if count:
                    rate[count].append(events / count / elapsed)
    figures = {
        f"server CPU with {count} watchers": f"{100 * statistics.median(cpu[count]):.1f}% of a core" for count in counts
    }
    ratios = [watched / alone for watched, alone in zip(speed[30], speed[0], strict=True)]
    figures["steps a second with 30 watchers / none"] = f"{statistics.median(ratios):.3f} (median of {ROUNDS} pairs)"
    figures["updates of the board a second"] = f"{statistics.median(rate[1]):.1f}"
    figures["memory of the web server"] = f"{web.memory_info().rss / 2**20:.0f} MB"
    figures["memory of a worker"] = f"{worker.memory_info().rss / 2**20:.0f} MB"
    return figures


def _long_run(server: Server) -> RunFolder:
    """Start a gpt-tiny that outlasts the measurement, in the server's data folder, claimed by its supervisor."""
    config = preset("gpt-tiny").replace({"train.steps": 100_000, "train.snapshots": 4})
    folder = RunFolder.create(server.data_dir, config)
    Queue(server.data_dir).put(folder.id)
    while folder.status().state != "running" or _last_step(folder) < 100:
        assert folder.status().state != "failed", folder.status().reason
        time.sleep(0.2)
    return folder


def _last_step(run: RunFolder) -> int:
    rows = run.rows("metrics")
    return rows[-1]["step"] if rows else 0


@contextmanager
def watching(server: Server, run: RunFolder, count: int):
    """Open streams, read by one cheap loop; yield a function that reads for some seconds and counts updates."""
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", server.port))
        request = f"GET /api/runs/{run.id}/stream HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
        connection.sendall(request.encode())
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        sockets.append(connection)

    def poll(seconds: float) -> int:
        events, end = 0, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if not sockets:
                time.sleep(left)
                continue
            for key, _ in selector.select(timeout=left):
                events += key.fileobj.recv(1 << 20).count(b"event: metrics")
        return events

    poll(2.0)  # the history comes first
    yield poll
    for connection in sockets:
        selector.unregister(connection)
        connection.close()
