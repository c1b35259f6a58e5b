"""A real server with an empty home of its own, and a real browser that notes every error on its console."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.browser import find_browser
from tests.e2e.server import Server

expect.set_options(timeout=30_000)  # two tests share two cores, and some of them train
STREAMLIT_PROBES = ("_stcore/health", "_stcore/host-config")  # Streamlit asks twice, for a base path it may have


@contextmanager
def _serving(folder: Path, measured: Path) -> Iterator[Server]:
    """The first home is quite empty; later ones know how fast the machine is, which need not be measured each time."""
    data_dir = folder / "home"
    data_dir.mkdir()
    if measured.exists():
        shutil.copy(measured, data_dir)
    running = Server(data_dir)
    yield running
    running.close()
    if (data_dir / "machine.json").exists():
        shutil.copy(data_dir / "machine.json", measured)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module, which share its home."""
    with _serving(tmp_path_factory.mktemp("server"), tmp_path_factory.getbasetemp() / "machine.json") as running:
        yield running


@pytest.fixture
def new_server(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an empty home."""
    with _serving(tmp_path, tmp_path_factory.getbasetemp() / "machine.json") as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        opened = playwright.chromium.launch(executable_path=find_browser(playwright), args=arguments)
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
