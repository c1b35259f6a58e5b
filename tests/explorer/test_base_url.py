"""Pages know where Streamlit's backend is, under any base path; everything else passes as it is."""

import asyncio

import pytest
from starlette.responses import HTMLResponse, PlainTextResponse

from explorer.base_url import KnownBaseUrl

PAGE = "<!DOCTYPE html><html><head><title>x</title></head></html>"


def answer(response, accept: str, base_path: str = "") -> tuple[dict[str, str], str]:
    """What a browser gets through the middleware."""
    sent = []

    async def app(scope, receive, send) -> None:
        assert b"accept-encoding" not in dict(scope["headers"]) or accept == "*/*"
        await response(scope, receive, send)

    async def send(message) -> None:
        sent.append(message)

    headers = [(b"accept", accept.encode()), (b"accept-encoding", b"gzip")]
    asyncio.run(KnownBaseUrl(app, base_path)({"type": "http", "headers": headers, "method": "GET"}, None, send))
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return told, b"".join(message.get("body", b"") for message in sent).decode()


@pytest.mark.parametrize(("base_path", "written"), [("", '"/"'), ("gpt", '"/gpt"')])
def test_a_page_is_told_the_address(base_path, written):
    headers, body = answer(HTMLResponse(PAGE), "text/html,*/*", base_path)
    assert f"BACKEND_BASE_URL: window.location.origin + {written}" in body
    assert body.index("<script>") < body.index("<title>")
    assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize(
    ("response", "accept"), [(HTMLResponse(PAGE), "*/*"), (PlainTextResponse("a <head> in a text"), "text/html")]
)
def test_everything_else_passes_as_it_is(response, accept):
    assert answer(response, accept)[1] == response.body.decode()
