"""Idle connections are closed, and those that wait for an answer are not.

The server imports packages before the first page needs them.
"""

import asyncio
import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
import uvicorn
import uvicorn.config
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.memory_session_storage import MemorySessionStorage

from explorer.web import server as web_server
from explorer.widgets.address import ROOT

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
ENDED = b""


async def app(scope, receive, send) -> None:
    """Answer after the whole body has arrived and the idle limit has passed."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(3 * web_server.REQUEST_SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def served(visit: Callable[[int], Awaitable[None]], http: type = web_server.TimedHTTP) -> None:
    """Run `visit` on a server that serves `app` on a free port."""

    async def run() -> None:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", http=http))
        bound = socket.create_server(("127.0.0.1", 0))  # without a named protocol, like the socket of Streamlit
        serving = asyncio.create_task(server.serve([bound]))
        while not server.started:
            await asyncio.sleep(0)
        await visit(bound.getsockname()[1])
        server.should_exit = True
        await serving

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(web_server, "REQUEST_SECONDS", 0.05)


def test_two_hundred_idle_connections_are_closed():
    async def visit(port: int) -> None:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        assert set(await asyncio.gather(*(reader.read() for reader, _ in opened))) == {ENDED}
        for _, writer in opened:
            writer.close()

    served(visit)


@pytest.mark.parametrize("begun", [HEAD, HEAD + b"Content-Length: 9\r\n\r\nhalf"])
def test_an_incomplete_request_is_closed_after_the_time_limit(begun):
    async def visit(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        assert await reader.read() == ENDED
        writer.close()

    served(visit)


def test_slowly_sent_headers_do_not_extend_the_time_limit():
    async def visit(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ended = asyncio.create_task(reader.read())
        writer.write(HEAD + b"X: ")
        while not ended.done():
            writer.write(b"x")
            await asyncio.sleep(web_server.REQUEST_SECONDS / 10)
        writer.close()

    served(visit)


def test_a_slow_answer_is_delivered_and_the_connection_stays_usable():
    async def visit(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(HEAD + b"\r\n")
            assert b"200 OK" in await reader.readuntil(b"ok")
        assert await reader.read() == ENDED
        writer.close()

    served(visit)


def test_connections_have_tcp_nodelay_set():
    options = []

    class Observed(web_server.TimedHTTP):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            connection = transport.get_extra_info("socket")
            options.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def visit(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.close()

    served(visit, Observed)
    assert options == [1]


def test_the_server_uses_the_http_protocol_with_time_limits():
    importlib.import_module("explorer.web.server")
    config = uvicorn.Config(app)
    config.load()
    assert config.http_protocol_class is web_server.TimedHTTP


FIRST_PAGE = """
import sys
import explorer.web.server
from streamlit.testing.v1 import AppTest
from explorer.widgets.address import NAVIGATION

def packages():
    return {name.partition(".")[0] for name in sys.modules}

before = packages()
page = AppTest.from_file(NAVIGATION, default_timeout=60).run()
assert not page.exception
sys.exit(" ".join(sorted(packages() - before)) or None)
"""


def test_the_first_page_imports_no_further_package(explorer_home):
    environment = os.environ | {"GPT_EXPLORER_HOME": str(explorer_home)}
    command = [sys.executable, "-c", FIRST_PAGE]
    ended = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
    assert not ended.returncode, ended.stderr


def test_enough_disconnected_sessions_are_kept_for_a_whole_school():
    """Streamlit keeps only 128 disconnected sessions by default and drops the oldest."""
    assert MemorySessionStorage(ttl_seconds=60)._cache.maxsize == web_server.MAX_SESSIONS >= 200


def test_a_reconnected_session_watches_no_files(monkeypatch):
    session = SimpleNamespace(_local_sources_watcher=None)
    monkeypatch.setattr(web_server.st, "get_option", {"server.fileWatcherType": "none"}.get)
    AppSession.register_file_watchers(session)
    assert session._local_sources_watcher is None
