"""The routes besides Streamlit's: live streams, downloads, text while it is generated, browser libraries.

They bypass Streamlit's sessions, so a run is addressed by its id, which cannot be guessed; they only read.
"""

import asyncio
import os
import re
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import plotly
from anyio import CancelScope
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from core.errors import ExplorerError, RunError
from core.formatting import whole_number
from core.lessons.lesson_text import ENGLISH, languages
from core.runs.archive import zip_run
from core.runs.folder import RunFolder, open_run
from core.runs.records import plain_name
from explorer.classroom.hand_in import zip_class
from explorer.look_inside.frames import FrameRequest, TooManyFrames, frame_bytes
from explorer.look_inside.model_picture import HOTTEST, PictureRequest
from explorer.look_inside.opened_part import MAX_ROWS
from explorer.services.model_files import EXPORTS, why_no_export, write_export
from explorer.services.shared import data_dir
from explorer.services.visitors import served_class, visitor, visitor_of
from explorer.streaming.broadcaster import Broadcaster
from explorer.streaming.generation import LONGEST_PROMPT, TooManyTexts, generated_text, problem_event
from explorer.streaming.run_events import event
from explorer.web.html import address_base
from explorer.web.scripts import compressed_file
from explorer.web.worksheets import paper
from explorer.widgets.address import ROOT

MAX_DOWNLOADS = 4  # at once: each keeps a whole archive on disk until it is sent
MAX_WATCHED = 8  # runs that one page may watch
CHECK_SECONDS = 1.0  # between checks that a stream's user may still read its run
_CHUNK = 2**18  # bytes of an archive sent at a time
_FOR_A_DAY = {"Cache-Control": "public, max-age=86400"}
_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would wait for a full buffer


def api_routes(broadcaster: Broadcaster, base: str = "") -> list[Route]:
    """Return all routes, under the base path that Streamlit is told to serve at."""
    base = address_base(base)

    async def stream(request: Request) -> Response:
        cursor = request.headers.get("last-event-id") or request.query_params.get("cursor") or ""
        return _event_stream(request, broadcaster.watch(_run_of(request), cursor))

    async def news(request: Request) -> Response:
        return _event_stream(request, broadcaster.news(request.query_params.getlist("run")[:MAX_WATCHED]))

    return [
        Route(f"{base}/api/news", news),
        Route(f"{base}/api/runs/{{id}}/stream", stream),
        Route(f"{base}/api/runs/{{id}}/download", partial(download, places=asyncio.Semaphore(MAX_DOWNLOADS))),
        Route(f"{base}/api/runs/{{id}}/generate", stream_text),
        Route(f"{base}/api/runs/{{id}}/frames/{{step}}", frame),
        Route(f"{base}/api/class.zip", partial(download_class, places=asyncio.Semaphore(1))),
        Route(f"{base}/api/lessons/{{lesson}}/{{paper}}", paper),
        Route(f"{base}/api/plotly.js", plotly_js),
        Route(f"{base}/api/chart2music.js", chart2music_js),
    ]


async def download(request: Request, places: asyncio.Semaphore) -> Response:
    """Send the run's folder as a zip, named after the run; with `?for=` one of EXPORTS. HEAD requests make no file."""
    folder = _run_of(request)
    name = plain_name(folder.name)
    kind = request.query_params.get("for")
    if kind is None:
        archive = _Archive(partial(zip_run, folder), f"{name}-{folder.id}.zip", places)
    elif kind not in EXPORTS:
        raise HTTPException(404, f"A run can be taken as {', '.join(EXPORTS)}, and as nothing else.")
    else:
        try:
            obstacle = why_no_export(data_dir(), folder, kind)
        except RunError as error:
            obstacle = str(error)
        if obstacle:
            raise HTTPException(409, obstacle)
        archive = _Archive(partial(write_export, data_dir(), folder, kind), f"{name}-{EXPORTS[kind][1]}", places)
    return Response(headers=archive.headers) if request.method == "HEAD" else archive


async def download_class(request: Request, places: asyncio.Semaphore) -> Response:
    """Send the class's teacher all data of the class as a zip; with `?weights=1` also the weights of its runs."""
    classroom = served_class()
    if classroom is None or not visitor().is_teacher:
        raise HTTPException(404)
    make = partial(zip_class, classroom, weights=request.query_params.get("weights") == "1")
    archive = _Archive(make, f"class-{plain_name(classroom.title)}.zip", places)
    return Response(headers=archive.headers) if request.method == "HEAD" else archive


class _Archive(Response):
    """A file made on request, without a name on disk, so that nothing is left behind however the transfer ends."""

    media_type = "application/zip"

    def __init__(self, make: Callable[[BinaryIO], None], filename: str, places: asyncio.Semaphore):
        headers = {"Content-Disposition": f'attachment; filename="{filename}"', "Accept-Ranges": "none"}
        media_type = self.media_type if filename.endswith(".zip") else "application/octet-stream"
        super().__init__(headers=headers, media_type=media_type)
        del self.headers["content-length"]  # known only when the archive is made
        self.make, self.places = make, places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.places.locked():
            sentence = "Several runs are being downloaded at this moment. Wait a little and download this one again."
            raise HTTPException(503, sentence)
        async with self.places:
            try:
                file = await asyncio.to_thread(self._made)
            except ExplorerError as error:
                raise HTTPException(500, str(error)) from None
            except OSError as error:
                sentence = f"The file for this download cannot be made ({error.strerror or error})."
                raise HTTPException(500, f"{sentence} Make room for temporary files.") from None
            with file:
                headers = dict(self.headers) | {"Content-Length": str(os.fstat(file.fileno()).st_size)}
                await StreamingResponse(_chunks(file), headers=headers)(scope, receive, send)

    def _made(self) -> BinaryIO:
        file = tempfile.TemporaryFile(prefix="gpt-explorer-")  # noqa: SIM115 - closed after it was sent
        try:
            self.make(file)
            file.seek(0)  # writes what is still buffered
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        return file


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _CHUNK):
        yield chunk


async def stream_text(request: Request) -> Response:
    """Send text while it is generated. If too many texts are being generated, refuse to start another."""
    return _Text(request)


class _Text(Response):
    """Events with a text's tokens. The text counts as being generated once its transfer starts."""

    def __init__(self, request: Request):
        super().__init__()
        self.request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            client = self.request.client.host if self.request.client else ""
            with generated_text(self.request.path_params["id"], self.request.query_params, client) as chunks:
                _run_of(self.request)
                await _event_stream(self.request, chunks)(scope, receive, send)
        except TooManyTexts as error:
            await _refused(self.request, error)(scope, receive, send)


def _refused(request: Request, why: TooManyTexts) -> Response:
    """Return 503 with the sentence; for an EventSource, which hides the body of any response but a 200, a stream."""
    if "text/event-stream" in request.headers.get("accept", ""):
        events = problem_event(str(why)) + event("end", "{}")
        return Response(events, media_type="text/event-stream", headers=_STREAM_HEADERS)
    return PlainTextResponse(str(why), status_code=503, headers={"Retry-After": "10"})


async def frame(request: Request) -> Response:
    """Send a frame of the time machine for a step and a prompt (`explorer.look_inside.frames`)."""
    folder = _run_of(request)
    step = whole_number(request.path_params["step"])
    if step is None:
        raise HTTPException(404, "A step is a whole number of at most nine digits.")
    prompt = request.query_params.get("prompt", "")
    if len(prompt) > LONGEST_PROMPT:
        raise HTTPException(400, f"A prompt may have at most {LONGEST_PROMPT:,} characters.")
    language = request.query_params.get("language")
    language = language if language in languages() else ENGLISH
    anchor = whole_number(request.query_params.get("anchor", ""))
    try:
        made = await frame_bytes(folder, FrameRequest(step, prompt, anchor, language, _picture_of(request)))
    except TooManyFrames as error:
        raise HTTPException(503, str(error), {"Retry-After": "10"}) from None
    except ExplorerError as error:
        raise HTTPException(404, str(error)) from None
    except OSError:
        raise HTTPException(404, "The weights of this step were deleted.") from None
    return Response(made, media_type="application/json", headers={"Cache-Control": "no-store"})


def _picture_of(request: Request) -> PictureRequest | None:
    """Return the requested picture of the whole model: a place, and how the next token is sampled."""
    query = request.query_params
    if "place" not in query:
        return None
    temperature = query.get("temperature", "1")
    if not re.fullmatch(r"\d(\.\d{1,2})?", temperature) or float(temperature) > HOTTEST:
        raise HTTPException(400, f"A temperature is a number from 0 to {HOTTEST}.")
    seed, rows = (whole_number(query.get(name, "")) for name in ("seed", "rows"))
    return PictureRequest(query["place"][:100], float(temperature), seed or 0, min(rows or MAX_ROWS, MAX_ROWS))


async def plotly_js(request: Request) -> Response:
    """Send the plotly.js that the plotly wheel ships, compressed once."""
    tag = f'"plotly-{plotly.__version__}"'
    headers = {"ETag": tag, "Vary": "Accept-Encoding"} | _FOR_A_DAY
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    file = Path(plotly.__file__).with_name("package_data") / "plotly.min.js"
    return await compressed_file(file, request.headers, headers)


async def chart2music_js(_request: Request) -> Response:
    """Send the library that makes a curve audible."""
    return FileResponse(ROOT / "assets/vendor/chart2music.min.js", media_type="text/javascript", headers=_FOR_A_DAY)


def _run_of(request: Request) -> RunFolder:
    """Return the run in the address, or raise 404 with a sentence. An id has a pattern, so it is never a path."""
    try:
        return open_run(data_dir(), request.path_params["id"])
    except ExplorerError as error:
        raise HTTPException(404, str(error)) from None


def _event_stream(request: Request, chunks: AsyncGenerator[bytes] | AsyncGenerator[str]) -> StreamingResponse:
    stream = _while_allowed(request, chunks) if served_class() else chunks
    return StreamingResponse(stream, media_type="text/event-stream", headers=_STREAM_HEADERS)


async def _while_allowed(
    request: Request, chunks: AsyncGenerator[bytes] | AsyncGenerator[str]
) -> AsyncIterator[bytes | str]:
    """Yield the chunks of a stream as long as its user is in the class and may read its run."""
    due = time.monotonic() + CHECK_SECONDS
    following: asyncio.Future | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(chunks, None))
            await asyncio.wait({following}, timeout=max(0.0, due - time.monotonic()))
            if time.monotonic() >= due:
                if not await asyncio.to_thread(_may_read, request):
                    return
                due = time.monotonic() + CHECK_SECONDS
            if following.done():
                chunk, following = following.result(), None
                if chunk is None:
                    return
                yield chunk
    finally:
        # A browser that has left cancels this; without the shield, also the cleanup of its stream.
        with CancelScope(shield=True):
            if following:
                following.cancel()
                await asyncio.wait({following})
            await chunks.aclose()


def _may_read(request: Request) -> bool:
    if visitor_of(request.headers.get("cookie", "")) is None:
        return False
    with suppress(ExplorerError):
        return "id" not in request.path_params or bool(open_run(data_dir(), request.path_params["id"]))
    return False
