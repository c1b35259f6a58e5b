"""Refuse requests for other host names and from other sites' pages, and send security headers with every response.

Another site can make its name resolve to this machine's address (DNS rebinding). The browser then takes our
responses for that site's. Only the Host header still shows which name was requested.
"""

import asyncio
import json
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import ExplorerError
from core.formatting import whole_number
from core.palette import DARK, LIGHT
from explorer.services import shared
from explorer.web.home_prerender import with_picture
from explorer.web.html import address_base
from explorer.web.scripts import import_map, preloads
from explorer.widgets.address import ROOT, RUN, STEP

LOOPBACK_NAME = "localhost"
_HEAD, _END = b"<head>", b"</body>"
_TITLES = b"<title>Streamlit</title>", b"<title>GPT Explorer</title>"
_STYLES = re.compile(rb'<link rel="stylesheet"[^>]*>')
_PAGE_COLORS = ("accent", "muted", "surface")  # of the palette, as CSS variables
EVERY_ADDRESS = ("0.0.0.0", "::")
_PAGES_OF_A_MODEL = ("look_inside", "generate")


class AllowedSites(NamedTuple):
    """The host names that this server answers to, and the origins whose pages may show it in a frame."""

    address: str = "127.0.0.1"  # that the server is bound to
    host_names: tuple[str, ...] = ()  # further names or addresses, as users type them into a browser
    embed_origins: tuple[str, ...] = ()  # such as https://moodle.school.edu


class RequestGuard:
    """ASGI middleware around the pages, Streamlit's own routes, its WebSocket and our routes."""

    def __init__(self, app: ASGIApp, sites: AllowedSites):
        self.app = app
        self._own_names = {LOOPBACK_NAME, *map(_plain_name, (sites.address, *sites.host_names))}
        self._host_names = {_plain_name(name) for name in sites.host_names}
        self._is_own_address: Callable[[str], bool] = lambda host: False
        if sites.address in EVERY_ADDRESS:
            short = _plain_name(socket.gethostname()).partition(".")[0]
            self._own_names |= {_plain_name(socket.gethostname()), short, f"{short}.local"}
            self._is_own_address = _is_own_address
        self._headers = {
            "Content-Security-Policy": " ".join(("frame-ancestors 'self'", *sites.embed_origins)),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }
        # This older header cannot list origins; browsers that support frame-ancestors ignore it.
        if not sites.embed_origins:
            self._headers["X-Frame-Options"] = "SAMEORIGIN"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        reason = self._why_refused(Headers(scope=scope))
        if not reason:
            # Streamlit compares Origin with Host again and, if a proxy has changed Host, asks a web service for this
            # machine's public address. Here the origin has been checked already.
            checked = [(name, value) for name, value in scope["headers"] if name != b"origin"]
            await self.app({**scope, "headers": checked}, receive, send_with_headers)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "foreign host or origin"})
        else:
            await PlainTextResponse(reason, status_code=403)(scope, receive, send_with_headers)

    def _why_refused(self, headers: Headers) -> str:
        hosts = headers.getlist("host") or [""]
        for host in hosts:
            name = host_of(host)
            if name is None or not self._is_own(name):
                return (
                    f"GPT Explorer does not answer to the name {(name or host)[:80]!r}. "
                    "If this is its name in your network, start it with --host-name and that name."
                )
        for origin in headers.getlist("origin"):
            if not self._is_own_origin(origin, hosts[0]):
                return f"GPT Explorer does not answer a page of another site ({origin[:80]!r}). Open it in its own tab."
        return ""

    def _is_own(self, name: str) -> bool:
        return name in self._own_names or is_loopback(name) or self._is_own_address(name)

    def _is_own_origin(self, origin: str, host: str) -> bool:
        """Return whether a page came from this server: from the same host and port, or by a given name of a proxy.

        Other ports of this machine are other apps.
        """
        scheme, _, place = origin.partition("://")
        if scheme not in ("http", "https"):
            return False
        return place.lower() == host.lower() or host_of(place) in self._host_names


def check_access(address: str, class_title: str | None, is_open: bool) -> None:
    """Raise ExplorerError if others can reach an address and no option sets what they may do."""
    if class_title is not None and is_open:
        raise ExplorerError("--class and --open exclude each other: a class has its own runs and texts. Leave one out.")
    if class_title is None and not is_open and address != LOOPBACK_NAME and not is_loopback(address):
        raise ExplorerError(
            f'Others can reach {address}. Serve a class with --class "Physics 11b", or let everybody change and '
            "delete everything with --open."
        )


def checked_host_name(text: str) -> str:
    """Return a name or address for `--host-name`, without its port. Raises ExplorerError if it is invalid."""
    name = host_of(f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text)
    if name is None or not all(letter.isalnum() or letter in "-._:%" for letter in name):
        raise ExplorerError(f"{text[:80]!r} is not a host name. Write it as in a browser's address: lab.school.edu.")
    return name


def checked_origin(text: str) -> str:
    """Return an origin for `--embed-origin`. Raises ExplorerError for anything but a scheme, a host and a port."""
    scheme, _, place = text.strip().lower().removesuffix("/").partition("://")
    name = host_of(place)
    if scheme not in ("http", "https") or name is None or not all(c.isalnum() or c in "-._:" for c in name):
        raise ExplorerError(
            f"{text[:80]!r} is not an origin. Write scheme and host, and a port if it has one: https://moodle.school.edu."
        )
    return f"{scheme}://{place}"


def host_of(header: str) -> str | None:
    """Return the host of a Host header, `name:port`, in lower case; None if it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises ValueError for anything but a number
    except ValueError:
        return None
    if parts.netloc != header or "@" in header or not parts.hostname:
        return None
    return _plain_name(parts.hostname)


def _plain_name(name: str) -> str:
    return name.lower().rstrip(".")


def is_loopback(name: str) -> bool:
    """Return whether a name is an address that only this machine reaches."""
    address = _address_of(name)
    return address is not None and (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_own_address(name: str) -> bool:
    known = (entry.address for entries in psutil.net_if_addrs().values() for entry in entries)
    return str(_address_of(name)) in {text.partition("%")[0] for text in known}


def _address_of(name: str) -> IPv4Address | IPv6Address | None:
    with suppress(ValueError):
        return ip_address(name)
    return None


def page_style() -> str:
    """Return the style sheet of all pages, with the palette's colors in both themes."""
    colors = (f"--{name}: light-dark({getattr(LIGHT, name)}, {getattr(DARK, name)});" for name in _PAGE_COLORS)
    sheets = (ROOT / "assets" / "components" / "shared" / "sideways.css", ROOT / "assets" / "app.css")
    return f":root {{ {' '.join(colors)} }}\n" + "".join(sheet.read_text(encoding="utf-8") for sheet in sheets)


class PageShell:
    """ASGI middleware that opens a page's model while the browser loads Streamlit, and extends the page's HTML.

    It adds where our components' modules are, what else to load with Streamlit's shell, and on Home the picture.

    It adds the address of Streamlit's backend. Otherwise a page requests `<page>/_stcore/health` first and then the
    same path one level up: two errors in the console of every page that is opened by its own address.

    It adds the style sheet after Streamlit's own places: a style sheet in the page's content would move what is drawn
    before it.
    """

    def __init__(self, app: ASGIApp, base_path: str = ""):
        self.app, self._base = app, base_path
        path = json.dumps(f"/{base_path}")
        self._own = f"{address_base(base_path)}/api/"  # our routes' responses stay unchanged
        address = f"<script>window.__streamlit = {{ BACKEND_BASE_URL: window.location.origin + {path} }}</script>"
        self._script = import_map(base_path) + address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")
        if not is_page or scope["path"].startswith(self._own):
            await self.app(scope, receive, send)
            return
        _open_model_of(scope)
        start: Message | None = None
        body = b""

        async def send_page(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                if "text/html" not in Headers(raw=message["headers"]).get("content-type", ""):
                    await send(message)
                else:
                    start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    page = scope["path"].rpartition("/")[2]
                    styles = b"".join(_STYLES.findall(body))  # first: nothing is painted before they are loaded
                    own = self._script.encode() + styles + preloads(page, self._base).encode()
                    body = _STYLES.sub(b"", body).replace(_HEAD, _HEAD + own, 1).replace(*_TITLES, 1)
                    body = body.replace(_END, f"<style>{page_style()}</style>".encode() + _END, 1)
                    if not page:
                        query = QueryParams(scope.get("query_string", b""))
                        body = (await asyncio.to_thread(with_picture, body.decode(), query)).encode()
                    if "content-length" in (headers := MutableHeaders(raw=start["headers"])):
                        headers["content-length"] = str(len(body))
                    await send(start)
                    await send({"type": "http.response.body", "body": body})

        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, send_page)


def _open_model_of(scope: Scope) -> None:
    """Start to open the model that a page will show: GPT-2's weights take as long to load as Streamlit's scripts."""
    query = QueryParams(scope.get("query_string", b""))
    if scope["path"].rpartition("/")[2] in _PAGES_OF_A_MODEL and (run := query.get(RUN)):
        shared.prefetch_model(run, whole_number(query.get(STEP, "")))
