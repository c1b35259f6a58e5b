"""Measure a class of thirty on this machine: thirty runs in a queue, thirty dashboards, and pages opened meanwhile.

Also measure two hundred sessions that lose their connection at the same moment and reconnect.
"""

import asyncio
import http.client
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil
import websockets
from playwright.sync_api import sync_playwright
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from core.classroom import Classroom, Visitor
from core.paths import made_data_dir, mark_shared, member_home
from core.presets import preset
from core.runs.ancestry import new_run
from core.runs.folder import RunFolder
from core.runs.machine import slots
from core.runs.queue import Queue
from core.runs.worker import train_run
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


SESSIONS, _AT_A_TIME = 200, 8  # of them draw a page at a time; all connect at once
_TTL, _COLLECTED = 120.0, 75.0  # seconds: Streamlit keeps a session without a connection; our garbage collection


def measure_sessions() -> dict[str, str]:
    """Return what two hundred sessions keep when all lose their connection and reconnect, and the server's memory."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "home"
        data_dir.mkdir()
        server = Server(data_dir, "--class", "Benchmark")
        try:
            known = Classroom(data_dir)
            cookies = [known.join(known.code, f"student {number}") for number in range(SESSIONS)]
            return asyncio.run(_measure_sessions(server, cookies))
        finally:
            server.close()


async def _measure_sessions(server: Server, cookies: list[str]) -> dict[str, str]:
    web, drawing = psutil.Process(server.process.pid), asyncio.Semaphore(_AT_A_TIME)
    first = await PageSession(server, cookies[0], 1).come(drawing, "")  # imports what pages need
    await first.leave()
    memory = [web.memory_full_info().uss]
    sessions = [PageSession(server, cookie, 100 + number) for number, cookie in enumerate(cookies)]
    await asyncio.gather(*(session.come(drawing, session.draft) for session in sessions))
    memory.append(web.memory_full_info().uss)
    ids = [session.id for session in sessions]
    await asyncio.gather(*(session.leave() for session in sessions))
    started = time.perf_counter()
    await asyncio.gather(*(session.come(drawing, "") for session in sessions))
    seconds = time.perf_counter() - started
    same = sum(session.id == id for session, id in zip(sessions, ids, strict=True))
    with_draft = sum(session.has_draft for session in sessions)
    await asyncio.gather(*(session.leave() for session in sessions))
    await asyncio.sleep(_TTL)
    last = await PageSession(server, cookies[0], 1).come(drawing, "")  # Streamlit drops old sessions when one leaves
    await last.leave()
    await asyncio.sleep(_COLLECTED)
    memory.append(web.memory_full_info().uss)
    before, most, after = (f"{value / 2**20:.0f} MB" for value in memory)
    return {
        f"{SESSIONS} sessions that drop at once and reconnect: the same session": f"{same} of {SESSIONS}",
        "the settings that each had chosen are still there": f"{with_draft} of {SESSIONS}",
        "until all are drawn again": f"{seconds:.0f} s",
        "memory of the web server before; with all of them; after they have left": f"{before}; {most}; {after}",
    }


SHARED_PAGES = ("look_inside", "generate", "play")


def measure_shared_run() -> dict[str, str]:
    """Return how long pages take for a class in which all open the one run that the teacher has trained."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = made_data_dir(Path(folder) / "home")
        run = train_shared(data_dir, {"train.steps": STEPS})
        server = Server(data_dir, "--class", "Benchmark")
        try:
            seconds, drawn = open_shared_run(server, Classroom(data_dir), run)
        finally:
            server.close()
    last = statistics.quantiles(seconds, n=20)[-1]
    return {
        f"{STUDENTS} sessions open one shared run on {len(SHARED_PAGES)} pages: drawn": f"{drawn} of {len(seconds)}",
        "a page of these until it is drawn, all at once": (
            f"{statistics.median(seconds):.1f} s, {last:.1f} s at the 95th percentile"
        ),
    }


def train_shared(data_dir: Path, changes: dict[str, int]) -> RunFolder:
    """Return a run of the teacher's that is trained and shared."""
    run = new_run(data_dir, preset("gpt-quick").replace(changes))
    train_run(run, data_dir)
    mark_shared(data_dir, run.id)
    return run


def open_shared_run(server: Server, known: Classroom, run: RunFolder) -> tuple[list[float], int]:
    """Let thirty sessions open a run on SHARED_PAGES, all at once.

    Return the seconds of each page, and how many were drawn with the run and without an error.
    """
    cookies = [known.join(known.code, f"student {number}") for number in range(STUDENTS)]
    pages = asyncio.run(_open_shared_run(server, cookies, run))
    return [seconds for seconds, _is_drawn in pages], sum(is_drawn for _seconds, is_drawn in pages)


async def _open_shared_run(server: Server, cookies: list[str], run: RunFolder) -> list[tuple[float, bool]]:
    async def visit(session: PageSession) -> list[tuple[float, bool]]:
        pages = []
        await session.connect()
        for page in SHARED_PAGES:
            started = time.perf_counter()
            answers = await session.open(page, f"run={run.id}")
            pages.append((time.perf_counter() - started, _shows(answers, run.name)))
        await session.leave()
        return pages

    visits = await asyncio.gather(*(visit(PageSession(server, cookie, 1)) for cookie in cookies))
    return [page for pages in visits for page in pages]


def _shows(answers: list[ForwardMsg], name: str) -> bool:
    """Return whether a page names a run and has no error."""
    elements = [answer.delta.new_element for answer in answers if answer.WhichOneof("type") == "delta"]
    is_wrong = any(
        element.WhichOneof("type") == "exception" or element.alert.format == Alert.ERROR for element in elements
    )
    return not is_wrong and any(name.encode() in answer.SerializeToString() for answer in answers)


class PageSession:
    """A browser's WebSocket, opened as by Streamlit's page."""

    def __init__(self, server: Server, cookie: str, steps: int):
        self.server, self.cookie, self.steps = server, cookie, steps
        self.id = ""
        self.has_draft = False
        self.socket: websockets.ClientConnection | None = None

    @property
    def draft(self) -> str:
        return f"preset=gpt-quick&set=train.steps:{self.steps}"

    async def come(self, drawing: asyncio.Semaphore, query: str) -> "PageSession":
        """Connect, to the earlier session if there was one, and read Train until it is drawn."""
        await self.connect()
        async with drawing:
            data = b"".join(message.SerializeToString() for message in await self.open("train", query))
        self.has_draft = f"train.steps%3A{self.steps}".encode() in data
        return self

    async def connect(self) -> None:
        """Connect, to the earlier session if there was one."""
        protocols = ["streamlit", "PLACEHOLDER_AUTH_TOKEN", *filter(None, [self.id])]
        self.socket = await websockets.connect(
            f"ws://127.0.0.1:{self.server.port}/_stcore/stream",
            subprotocols=protocols,  # pyrefly: ignore
            additional_headers={"Cookie": f"{COOKIE}={self.cookie}"},
            max_size=None,
            open_timeout=60,
        )

    async def open(self, page: str, query: str) -> list[ForwardMsg]:
        """Request a page and return what the server sends until it is drawn."""
        message, answers = BackMsg(), []
        message.rerun_script.query_string, message.rerun_script.page_name = query, page
        assert self.socket
        await self.socket.send(message.SerializeToString())
        async for data in self.socket:
            answers.append(forward := ForwardMsg.FromString(bytes(data)))  # pyrefly: ignore
            kind = forward.WhichOneof("type")
            if kind == "new_session":
                self.id = forward.new_session.initialize.session_id
            if kind == "script_finished" and forward.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                break
        return answers

    async def leave(self) -> None:
        if self.socket:
            self.socket.transport.abort()  # without a closing handshake, as a network that is gone
            await self.socket.wait_closed()
