"""A real server with an empty home of its own, and a real browser that notes every error on its console."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.browser import find_browser

ROOT = Path(__file__).parents[2]
STREAMLIT_PROBES = ("_stcore/health", "_stcore/host-config")  # Streamlit asks twice, for a base path it may have


class Server:
    """`python -m explorer` in a process of its own, started and killed as a user would."""

    def __init__(self, home: Path):
        self.home = home
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "GPT_EXPLORER_HOME": str(self.home)}
        self.log = (self.home.parent / f"{self.home.name}.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "explorer", "--port", str(self.port)],
            cwd=ROOT, env=environment, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        while True:  # ends when the server answers, or by pytest's own death if it never does
            assert self.process.poll() is None, Path(self.log.name).read_text()
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5):
                    return
            except OSError:
                continue

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for process in psutil.process_iter(["cmdline", "environ"]):
            if (process.info["environ"] or {}).get("GPT_EXPLORER_HOME") == str(self.home):
                process.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home = tmp_path / "home"
    home.mkdir()
    running = Server(home)
    yield running
    running.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        opened = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages (`open_page(color_scheme="dark")`); afterwards no console may hold an error."""
    contexts, errors = [], []

    def note(message) -> None:
        if message.type == "error" and not any(probe in message.location.get("url", "") for probe in STREAMLIT_PROBES):
            errors.append(f"{message.text} ({message.location.get('url')})")

    def open_page(width: int = 1280, height: int = 900, **options) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
