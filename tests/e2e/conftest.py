"""Fixtures: a real server with its own data folder, and a real browser that records every console error."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from core.runs.folder import RunFolder, list_runs
from core.runs.supervisor import Supervisor
from tests.e2e.browser import find_browser
from tests.e2e.server import Server

expect.set_options(timeout=90_000)  # two tests share two cores, some train, and the machine may be busy
SHIFTS = """window.shifts = [];
new PerformanceObserver((list) => window.shifts.push(...list.getEntries().filter((each) => !each.hadRecentInput)))
  .observe({ type: "layout-shift", buffered: true })"""
# Streamlit's placeholders pulse and its spinners turn while a page loads. A browser without a GPU draws each of these
# frames on the processor: a third of a load's time. With reduced motion they stay, as tests look for what moves then.
STILL = """{
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`@media (prefers-reduced-motion: no-preference) {
    [data-testid^=stSkeleton], [data-testid=stAppSkeleton] *, [data-testid^=stSpinner] { animation: none !important }
  }`);
  document.adoptedStyleSheets.push(sheet);
}"""
STREAMLIT_PROBES = ("_stcore/health", "_stcore/host-config")  # Streamlit tries two base paths


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory, measured: Path) -> Iterator[Server]:
    """Start one server for all tests of a process, as starting takes as long as a test. Its data folder is empty."""
    data_dir = tmp_path_factory.mktemp("server") / "home"
    data_dir.mkdir()
    shutil.copy(measured, data_dir)
    running = Server(data_dir)
    yield running
    running.close()


@pytest.fixture
def server(running_server: Server) -> Server:
    """Return the server. Its data folder has the files of earlier tests."""
    if not running_server.answers():  # a test failed while the server was killed
        running_server.start()
    return running_server


def end_training(server: Server) -> None:
    """Delete active runs at once: the next test's run would wait for them."""
    for run in list_runs(server.data_dir):
        if not run.status().ended:
            Supervisor(server.data_dir).delete(run)


@pytest.fixture
def free_server(server: Server) -> Iterator[Server]:
    """Return the server for a test that trains, and delete its active runs afterwards."""
    yield server
    end_training(server)


@pytest.fixture
def empty_server(free_server: Server) -> Server:
    """Return the server without runs, as a newcomer sees it."""
    for run in list_runs(free_server.data_dir):
        Supervisor(free_server.data_dir).delete(run)
    return free_server


@pytest.fixture
def trained_run(server: Server, trained_home: Path) -> RunFolder:
    """Return a finished run in the server's data folder."""
    shutil.copytree(trained_home / "texts", server.data_dir / "texts", dirs_exist_ok=True)
    (source,) = list_runs(trained_home)
    folder = RunFolder(server.data_dir / "runs" / source.id)
    if not folder.path.exists():
        shutil.copytree(source.path, folder.path)
    return folder


@pytest.fixture(scope="session")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Start the browser for all tests of a process, with a profile on disk.

    Only then it caches compiled scripts, and later pages take 60 % of the work.
    """
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("browser"), executable_path=find_browser(playwright), args=arguments
        )
        context.add_init_script(SHIFTS)
        context.add_init_script(STILL)
        yield context
        context.close()


@pytest.fixture(scope="session")
def tabs() -> list[Page]:
    """Return the tabs of earlier tests: a page in one of them takes two thirds of the time in a new tab."""
    return []


def forget(page: Page, server: Server) -> None:
    """Delete everything that a page's browser has stored for a server."""
    session = page.context.new_cdp_session(page)
    storage = {"origin": server.url, "storageTypes": "local_storage,indexeddb"}
    session.send("Storage.clearDataForOrigin", storage)
    session.detach()
    page.context.clear_cookies()


def put_back(page: Page, tabs: list[Page], server: Server, listeners: dict[str, Callable[..., None]]) -> None:
    """Empty a tab and keep it for the next test; close one that does not show a page of the server."""
    if not page.url.startswith(server.url):
        page.close()
    elif not page.is_closed():
        page.evaluate("sessionStorage.clear()")
        page.goto("about:blank")
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        tabs.append(page)


@contextmanager
def opening_pages(visitor: BrowserContext, tabs: list[Page], server: Server) -> Iterator[Callable[..., Page]]:
    """Open pages (`open_page(color_scheme="dark")`); afterwards no console may contain an error.

    The browser has nothing stored from earlier tests; with `another=True`, nothing from this test either.
    """
    own_tabs, contexts, errors = [], [], []

    def note(message) -> None:
        if message.type == "error" and not any(probe in message.location.get("url", "") for probe in STREAMLIT_PROBES):
            errors.append(f"{message.text} ({message.location.get('url')})")

    def note_error(error) -> None:
        errors.append(str(error))

    listeners = {"console": note, "pageerror": note_error}

    def open_page(
        width: int = 1280,
        height: int = 900,
        another: bool = False,
        user_agent: str | None = None,
        color_scheme: str = "null",  # the system's scheme
        reduced_motion: str = "null",
    ) -> Page:
        is_first = not (own_tabs or contexts)
        if another or user_agent:
            context = visitor.browser.new_context(user_agent=user_agent)
            context.add_init_script(STILL)
            contexts.append(context)
            page = context.new_page()
        else:
            page = tabs.pop() if tabs else visitor.new_page()
            own_tabs.append(page)
        if is_first:
            forget(page, server)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=color_scheme, reduced_motion=reduced_motion)
        page.set_default_timeout(120_000)
        for event, listener in listeners.items():
            page.on(event, listener)
        return page

    yield open_page
    for page in own_tabs:
        put_back(page, tabs, server, listeners)
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def open_page(visitor: BrowserContext, tabs: list[Page], running_server: Server) -> Iterator[Callable[..., Page]]:
    with opening_pages(visitor, tabs, running_server) as open_page:
        yield open_page
