"""Requests for other host names or from other sites are refused, and every answer has the security headers.

Pages know the address of Streamlit's backend under any base path.
"""

import asyncio
import socket
import threading
from contextlib import contextmanager

import psutil
import pytest
import streamlit as st
import uvicorn
from starlette.responses import HTMLResponse, PlainTextResponse
from streamlit.web.server.app_discovery import discover_asgi_app

from core.errors import ExplorerError
from core.runs.weights import latest_weights
from explorer.services import shared
from explorer.web.class_access import ClassAccess
from explorer.web.middleware import AllowedSites, PageShell, RequestGuard, checked_host_name, checked_origin
from explorer.web.scripts import Scripts
from explorer.web.server import app_parts, serve
from explorer.widgets.address import NAVIGATION

ROUTES = [
    "/", "/train", "/static/index.html", "/api/plotly.js", "/api/runs/20260101-000000-zzzzzzzzzzzz/stream",
    "/_stcore/health", "/_stcore/host-config", "/media/none.csv", "/component/none/x.js", "/nothing/at/all.js",
]  # fmt: skip
HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: streamlit\r\n"
)


@contextmanager
def serving(sites: AllowedSites):
    """Serve the pages, Streamlit's routes and ours on a free port, without the supervisor and measurements."""
    parts = app_parts(sites)
    app = st.App(NAVIGATION, routes=parts["routes"], middleware=parts["middleware"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="websockets-sansio"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def port():
    with serving(AllowedSites(host_names=("lab.school.edu",), embed_origins=("https://moodle.school.edu",))) as port:
        yield port


def ask(port: int, path: str, host: str, more: str = "") -> tuple[int, str]:
    """Send a raw request; return the status and everything received up to the end of the headers."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        if b" 403 " in received.split(b"\r\n")[0]:
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
    return int(received.split()[1]), received.decode()


@pytest.mark.parametrize("path", ROUTES)
def test_a_request_for_a_foreign_host_is_refused_on_every_route(port, path):
    assert ask(port, path, f"127.0.0.1:{port}")[0] != 403
    status, received = ask(port, path, f"evil.example:{port}", "Connection: close\r\n")
    assert status == 403 and "--host-name" in received and "<" not in received


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("localhost:{}", True), ("LOCALHOST.", True), ("127.9.9.9:{}", True), ("[::1]:{}", True),
        ("lab.school.edu", True), ("Lab.School.edu:443", True),
        ("evil.example", False), ("localhost.evil.example", False), ("x.lab.school.edu", False), ("", False),
        ("192.0.2.9", False), ("evil.example@localhost", False), ("localhost/evil", False), ("localhost:x", False),
        ("evil.example\r\nHost: localhost", False), ("localhost\r\nHost: evil.example", False),
    ],
)  # fmt: skip
def test_only_requests_for_allowed_host_names_are_answered(port, host, answered):
    status, _ = ask(port, "/_stcore/health", host.format(port), "Connection: close\r\n")
    assert status == 200 if answered else status in (400, 403)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:{}", "http://127.0.0.1:{}", 101),
        ("localhost:{}", "http://localhost:{}", 101),
        ("lab.school.edu", "https://lab.school.edu", 101),
        ("lab.school.edu", "https://lab.school.edu:8443", 101),  # proxies that change the port, or all of Host
        ("127.0.0.1:{}", "https://lab.school.edu", 101),
        ("evil.example:{}", "http://evil.example:{}", 403),
        ("127.0.0.1:{}", "http://evil.example", 403),
        ("127.0.0.1:{}", "http://localhost:9999", 403),  # another app on this machine
        ("127.0.0.1:{}", "null", 403),
    ],
)
def test_a_websocket_is_opened_only_for_our_own_origins(port, host, origin, status):
    received = f"{HANDSHAKE}Origin: {origin.format(port)}\r\n"
    assert ask(port, "/_stcore/stream", host.format(port), received)[0] == status


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_has_the_security_headers(port, path):
    received = ask(port, path, "localhost")[1].lower()
    assert "content-security-policy: frame-ancestors 'self' https://moodle.school.edu\r\n" in received
    assert "x-content-type-options: nosniff\r\n" in received and "referrer-policy: same-origin\r\n" in received
    assert "x-frame-options" not in received  # this header cannot allow another site


def guard(**sites) -> RequestGuard:
    return RequestGuard(lambda *_: None, AllowedSites(**sites))


def test_framing_by_other_sites_is_forbidden_by_default():
    headers = guard()._headers
    assert headers["Content-Security-Policy"] == "frame-ancestors 'self'"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"


def test_bound_to_all_addresses_the_names_and_addresses_of_this_machine_are_allowed(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Desk7.school.edu")
    everywhere, here, one = guard(address="0.0.0.0"), guard(), guard(address="192.0.2.9")
    addresses = [address for several in psutil.net_if_addrs().values() for address in several]
    own = next(address.address for address in addresses if address.family == socket.AF_INET)
    for name in ("desk7.school.edu", "desk7", "desk7.local", own):
        assert everywhere._is_own(name)
    assert not everywhere._is_own("192.0.2.9") and not everywhere._is_own("evil.example")
    assert not here._is_own("desk7") and not here._is_own("192.0.2.9") and one._is_own("192.0.2.9")


def test_invalid_host_names_and_origins_on_the_command_line_are_refused():
    assert checked_host_name("Lab.School.edu:8501") == "lab.school.edu" and checked_host_name("fe80::1") == "fe80::1"
    assert checked_origin("https://Moodle.school.edu/") == "https://moodle.school.edu"
    for name in ("", "a b", "http://lab.school.edu", "lab/x", "*"):
        with pytest.raises(ExplorerError, match="not a host name"):
            checked_host_name(name)
    for origin in ("moodle.school.edu", "https://a/b", "https://a; script-src *", "https://*", "*", "javascript:x"):
        with pytest.raises(ExplorerError, match="not an origin"):
            checked_origin(origin)


def test_streamlit_run_and_python_m_explorer_serve_the_same_app(monkeypatch):
    found = discover_asgi_app(NAVIGATION.with_name("app.py"))
    assert found.is_asgi_app and found.import_string == "app:app"
    from explorer.app import app

    served = []
    monkeypatch.setattr(st.App, "run", lambda own, config: served.append(own))
    serve(AllowedSites("127.0.0.1"), 8501)
    for one in (app, *served):
        assert one.script_path == NAVIGATION
        assert [middleware.cls for middleware in one._user_middleware] == [
            RequestGuard,
            ClassAccess,
            PageShell,
            Scripts,
        ]
    assert [[route.path for route in one._user_routes] for one in served] == [
        [route.path for route in app._user_routes]
    ]


PAGE = "<!DOCTYPE html><html><head><title>x</title></head></html>"


def answer(response, accept: str, base_path: str = "", address: str = "/") -> tuple[dict[str, str], str]:
    """Return the headers and the body that a browser gets through the middleware."""
    sent = []

    async def app(scope, receive, send) -> None:
        assert b"accept-encoding" not in dict(scope["headers"]) or accept == "*/*"
        await response(scope, receive, send)

    async def send(message) -> None:
        sent.append(message)

    headers = [(b"accept", accept.encode()), (b"accept-encoding", b"gzip")]
    path, _, query = address.partition("?")
    scope = {"type": "http", "headers": headers, "method": "GET", "path": path, "query_string": query.encode()}
    asyncio.run(PageShell(app, base_path)(scope, None, send))
    received = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return received, b"".join(message.get("body", b"") for message in sent).decode()


@pytest.mark.parametrize(("base_path", "written"), [("", '"/"'), ("gpt", '"/gpt"')])
def test_a_page_contains_the_address_of_its_backend(base_path, written):
    headers, body = answer(HTMLResponse(PAGE), "text/html,*/*", base_path)
    assert f"BACKEND_BASE_URL: window.location.origin + {written}" in body
    assert body.index("importmap") < body.index("<script>") < body.index("modulepreload") < body.index("<title>")
    assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize(
    ("response", "accept"), [(HTMLResponse(PAGE), "*/*"), (PlainTextResponse("a <head> in a text"), "text/html")]
)
def test_answers_that_are_not_html_pages_are_unchanged(response, accept):
    assert answer(response, accept)[1] == response.body.decode()


@pytest.mark.parametrize(
    ("page", "step", "opened"),
    [("look_inside", "", True), ("gpt/generate", "", True), ("look_inside", "99", False), ("runs", "", False)],
)
def test_the_model_of_a_page_is_prefetched_when_its_html_is_requested(finished_run, page, step, opened):
    shared._models.clear()
    answer(HTMLResponse(PAGE), "text/html", address=f"/{page}?run={finished_run.id}&step={step}")
    shared._prefetching.submit(lambda: None).result()  # waits for the prefetch that the request started
    assert [path for path, _ in shared._models] == ([latest_weights(finished_run)] if opened else [])
