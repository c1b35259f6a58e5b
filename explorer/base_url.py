"""Tell the browser where Streamlit's backend is, so that it need not try.

Streamlit's pages ask for `<page>/_stcore/health` first and, when that is not found, for the same above it: two errors
on the console of every page that is opened by its own address.
"""

import json

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = b"<head>"


class KnownBaseUrl:
    """ASGI middleware that writes the address of the backend into every HTML page."""

    def __init__(self, app: ASGIApp, base_path: str = ""):
        self.app = app
        path = json.dumps(f"/{base_path}")
        self._script = f"<script>window.__streamlit = {{ BACKEND_BASE_URL: window.location.origin + {path} }}</script>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self.app(scope, receive, send)
            return
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
                    body = body.replace(_HEAD, _HEAD + self._script.encode(), 1)
                    if "content-length" in (headers := MutableHeaders(raw=start["headers"])):
                        headers["content-length"] = str(len(body))
                    await send(start)
                    await send({"type": "http.response.body", "body": body})

        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, send_page)
