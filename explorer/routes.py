"""The addresses beside Streamlit's own: live streams, downloads, text as it is written, plotly.js.

They bypass Streamlit's sessions, so a run is addressed by its id, which cannot be guessed; they only read.
"""

import asyncio
import gzip
import re
import tempfile
from functools import lru_cache
from pathlib import Path

import plotly
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from core.errors import ExplorerError
from core.home import home
from core.runs.folder import RunFolder, open_run
from explorer.streams import Feeds
from explorer.writing import write

_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would wait for a full buffer


def api_routes(feeds: Feeds, base: str = "") -> list[Route]:
    """All routes, under the base path that Streamlit is told to serve at."""
    base = f"/{base.strip('/')}" if base.strip("/") else ""

    async def stream(request: Request) -> Response:
        folder = _run_of(request)
        if isinstance(folder, Response):
            return folder
        cursor = request.headers.get("last-event-id") or request.query_params.get("cursor") or ""
        return StreamingResponse(feeds.watch(folder, cursor), media_type="text/event-stream", headers=_STREAM_HEADERS)

    return [
        Route(f"{base}/api/runs/{{id}}/stream", stream),
        Route(f"{base}/api/runs/{{id}}/download", download),
        Route(f"{base}/api/runs/{{id}}/generate", generate),
        Route(f"{base}/api/plotly.js", plotly_js),
    ]


async def download(request: Request) -> Response:
    """The run's folder as a zip, named after the run."""
    folder = _run_of(request)
    if isinstance(folder, Response):
        return folder
    name = re.sub(r"[^\w-]+", "-", folder.name).strip("-")[:60] or "run"
    path = Path(await asyncio.to_thread(_zip, folder))
    return FileResponse(
        path,
        media_type="application/zip",
        filename=f"{name}-{folder.id}.zip",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


async def generate(request: Request) -> Response:
    """Text as it is written. What is wrong is told in the stream: a browser hides the body of a failed one."""
    folder = _run_of(request)
    if isinstance(folder, Response):
        return folder
    pieces = write(folder.id, request.query_params)
    return StreamingResponse(pieces, media_type="text/event-stream", headers=_STREAM_HEADERS)


async def plotly_js(request: Request) -> Response:
    """The plotly.js that the plotly wheel ships, compressed once."""
    tag = f'"plotly-{plotly.__version__}"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    compressed = await asyncio.to_thread(_plotly_compressed)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        compressed = gzip.decompress(compressed)
    return Response(compressed, media_type="text/javascript", headers=headers)


def _run_of(request: Request) -> RunFolder | Response:
    """The run of the address; a 404 with a sentence for anything else. An id has a pattern, so it is never a path."""
    try:
        return open_run(home(), request.path_params["id"])
    except ExplorerError as error:
        return PlainTextResponse(str(error), status_code=404)


def _zip(folder: RunFolder) -> str:
    with tempfile.NamedTemporaryFile(prefix="gpt-explorer-", suffix=".zip", delete=False) as file:
        try:
            folder.zip_to(file)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
        return file.name


@lru_cache(maxsize=1)
def _plotly_compressed() -> bytes:
    source = Path(plotly.__file__).with_name("package_data") / "plotly.min.js"
    return gzip.compress(source.read_bytes(), compresslevel=6)
