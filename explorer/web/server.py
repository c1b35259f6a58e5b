"""The server: Streamlit's pages and our own routes in one process, with a supervisor."""

import asyncio
import gc
import io
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial, partialmethod
from types import FrameType
from typing import Any

# The first page needs these: Streamlit imports pandas to draw any component. What is imported now is frozen below.
import pandas  # noqa: F401
import plotly.graph_objects  # noqa: F401
import segno
import streamlit as st
import uvicorn.config
from starlette.middleware import Middleware
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from core.classroom import Classroom
from core.runs.processes import not_ignored
from explorer.services import shared
from explorer.services.cost_trials import end_trial
from explorer.services.visitors import class_address, join_link, serve_at, serve_class, served_class, teacher_link
from explorer.streaming.broadcaster import Broadcaster
from explorer.web.class_access import ClassAccess, join_routes
from explorer.web.html import address_base
from explorer.web.middleware import (
    EVERY_ADDRESS,
    LOOPBACK_NAME,
    AllowedSites,
    PageShell,
    RequestGuard,
    checked_host_name,
    is_loopback,
)
from explorer.web.routes import api_routes
from explorer.web.scripts import Scripts
from explorer.widgets.address import NAVIGATION

_HOW_TO_STOP = "Press Ctrl-C to stop; runs that train continue."
_COLLECT_EVERY = 60.0  # seconds
REQUEST_SECONDS = 20.0  # for a request's head, since the connection or the last response; also between parts of a body

MAX_SESSIONS = 512  # kept without a connection; a school's network may drop more than Streamlit's 128

# Streamlit has no setting for this.
MemorySessionStorage.__init__ = partialmethod(MemorySessionStorage.__init__, MAX_SESSIONS)  # pyrefly: ignore
_watch_files = AppSession.register_file_watchers


def _watch_files_if_set(session: AppSession) -> None:
    if st.get_option("server.fileWatcherType") != "none":
        _watch_files(session)


# Streamlit checks this setting for new sessions, but not when one reconnects: listing the files of all modules
# then took 0.4 s, during which no other session was served.
AppSession.register_file_watchers = _watch_files_if_set  # pyrefly: ignore
uvicorn.config.HTTP_PROTOCOLS["auto"] = "explorer.web.server:TimedHTTP"  # Streamlit leaves this choice to uvicorn


def serve(
    sites: AllowedSites, port: int, *, base_path: str = "", dev: bool = False, class_title: str | None = None
) -> None:
    """Serve until stopped; print the address once the server answers. Raises KeyboardInterrupt on Ctrl-C.

    Args:
        class_title: title of the class whose members and teacher alone are let in; None lets everybody in.
    """
    address = sites.address
    serve_at(_network_url(address, port, base_path))
    if class_title is not None:
        serve_class(class_title)
    for logger in uvicorn.config.LOGGING_CONFIG["loggers"].values():
        logger["level"] = "WARNING"  # uvicorn logs its start and stop; we print them once, below
    greet = partial(print, _greeting(address, port, base_path), flush=True)
    app = st.App(NAVIGATION, **app_parts(sites, base_path, greet))
    config = {
        "global.disableWidgetStateDuplicationWarning": True,  # see explorer/widgets/forms.py
        "server.address": address,
        "server.port": port,
        "server.baseUrlPath": base_path,
        "server.headless": True,
        "server.fileWatcherType": "auto" if dev else "none",
        "server.runOnSave": dev,
        "client.showErrorDetails": "full" if dev else "none",
        "runner.postScriptGC": False,
        "runner.magicEnabled": False,
        "browser.gatherUsageStats": False,
        "logger.hideWelcomeMessage": True,
    }
    app.run(config=config)


def app_parts(sites: AllowedSites, base_path: str = "", announce: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Return the arguments of `st.App` besides the pages. `announce` is called just before the app answers."""
    broadcaster = Broadcaster()
    handled = not_ignored(signal.SIGINT, signal.SIGTERM)  # uvicorn would handle ignored ones, too

    @asynccontextmanager
    async def lifespan(_app: st.App) -> AsyncIterator[dict]:
        # Measured before anything else runs, for a clean figure; kept on disk, so only a first start waits for it.
        await asyncio.to_thread(shared.measure_machine)
        shared.supervisor()
        collecting = asyncio.create_task(_collect_garbage())
        with _streams_end_first(broadcaster, handled):
            announce()
            yield {}
        collecting.cancel()
        await asyncio.to_thread(end_trial)
        await asyncio.to_thread(shared.close)

    return {
        "lifespan": lifespan,
        "routes": [*api_routes(broadcaster, base_path), *join_routes(base_path)],
        "middleware": [
            Middleware(RequestGuard, sites),
            Middleware(ClassAccess, base_path),
            Middleware(PageShell, base_path),
            Middleware(Scripts, base_path),
        ],
    }


def configured_sites() -> AllowedSites:
    """Return the sites of `streamlit run`: its server.address (all addresses if none) and server.allowedHosts."""
    names = st.get_option("server.allowedHosts")
    return AllowedSites(st.get_option("server.address") or "0.0.0.0", tuple(map(checked_host_name, names)))


async def _collect_garbage() -> None:
    """Collect garbage once a minute, not after every rerun (134 ms each with torch loaded); imports are frozen."""
    gc.collect()
    gc.freeze()
    gc.enable()
    while True:
        await asyncio.sleep(_COLLECT_EVERY)
        gc.collect()


@contextmanager
def _streams_end_first(broadcaster: Broadcaster, handled: Sequence[signal.Signals]) -> Iterator[None]:
    """On Ctrl-C, close the live streams before uvicorn waits for all connections to end.

    Args:
        handled: the signals that end the server; the others were ignored at the start and stay ignored.
    """
    loop = asyncio.get_running_loop()
    before: dict[int, Callable[[int, FrameType | None], object]] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(broadcaster.close)
        before[number](number, frame)

    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            before[number] = handler
            signal.signal(number, stop if number in handled else signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _greeting(address: str, port: int, base_path: str) -> str:
    lines = [f"GPT Explorer is at {_url(address, port, base_path)}"]
    if classroom := served_class():
        return "\n".join([*_class_greeting(classroom, class_address()), _HOW_TO_STOP])
    if (network := _network_url(address, port, base_path)) != _url(address, port, base_path):
        lines.append(f"Others in your network find it at {network}")
    if address != LOOPBACK_NAME and not is_loopback(address):
        lines.append("There is no password: whoever can reach it can start, stop and delete any run and text.")
    return "\n".join([*lines, _HOW_TO_STOP])


def _url(address: str, port: int, base_path: str) -> str:
    here = "127.0.0.1" if address in EVERY_ADDRESS else f"[{address}]" if ":" in address else address
    return f"http://{here}:{port}{address_base(base_path)}"


def _network_url(address: str, port: int, base_path: str) -> str:
    """Return the address by which others in the network reach this server."""
    network = _network_address() if address == "0.0.0.0" else None
    return _url(network or address, port, base_path)


def _class_greeting(classroom: Classroom, address: str) -> list[str]:
    qr_code = io.StringIO()
    segno.make(join_link(address, classroom.code), micro=False).terminal(qr_code, compact=True, border=2)
    return [
        f"GPT Explorer serves the class {classroom.title!r}.",
        f"Students open  {address}  and join with the code  {classroom.code}  or scan:",
        qr_code.getvalue().rstrip(),
        f"Teacher's link, for you alone:  {teacher_link(address, classroom.teacher_key)}",
        "Without HTTPS others in the network can read along; docs/serving.md says how a proxy adds it.",
    ]


def _network_address() -> str | None:
    """Return this machine's address in its network. Connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
            return probe.getsockname()[0]
        except OSError:
            return None


class TimedHTTP(AutoHTTPProtocol):
    """uvicorn's protocol, which also closes a connection that does not send a complete request.

    uvicorn limits only the silence after a response: a connection that sends no request, or its headers letter by
    letter, stays open as long as the client likes, and uses one of the process's open files.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio sets this only for a socket made with an explicit protocol. Without it, the kernel delays the body
            # until the client acknowledges the head: 40 ms per response, and as much for WebSocket messages.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_protocol() is not self:  # now a WebSocket, which has its own pings
            self._stop_waiting()
        elif self._has_head:
            self._stop_waiting()
            if self.cycle.more_body:
                self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._deadline is None and not self._has_head:  # unless the next request has already come
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _has_head(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._has_head and self.flow.read_paused:  # reading is paused, so nothing can come
            self._wait()
        elif not self.transport.is_closing():
            self.transport.close()
