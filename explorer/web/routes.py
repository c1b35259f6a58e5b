"""The addresses beside Streamlit's own: live streams, downloads, text as it is written, plotly.js.

They bypass Streamlit's sessions, so a run is addressed by its id, which cannot be guessed; they only read.
"""

import asyncio
import gzip
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

import plotly
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from core.errors import ExplorerError, RunError
from core.lessons.lesson_text import ENGLISH, languages
from core.paths import data_dir
from core.runs.archive import zip_run
from core.runs.folder import RunFolder, open_run
from core.runs.records import plain_name
from explorer.look_inside.frames import FrameRequest, TooManyFrames, frame_bytes
from explorer.services.model_files import EXPORTS, why_no_export, write_export
from explorer.streaming.broadcaster import Broadcaster
from explorer.streaming.generation import LONGEST_PROMPT, TooManyTexts, check_for_room, problem_event, text_of
from explorer.streaming.run_events import event
from explorer.widgets.address import whole_number

MOST_DOWNLOADS = 4  # at once: each keeps a whole archive on disk until it is sent
MOST_WATCHED = 8  # runs that one page shows and has watched
_PIECE = 2**18  # bytes of an archive sent at a time
_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would wait for a full buffer


def api_routes(broadcaster: Broadcaster, base: str = "") -> list[Route]:
    """All routes, under the base path that Streamlit is told to serve at."""
    base = f"/{base.strip('/')}" if base.strip("/") else ""

    async def stream(request: Request) -> Response:
        folder = _run_of(request)
        if isinstance(folder, Response):
            return folder
        cursor = request.headers.get("last-event-id") or request.query_params.get("cursor") or ""
        return StreamingResponse(
            broadcaster.watch(folder, cursor), media_type="text/event-stream", headers=_STREAM_HEADERS
        )

    async def news(request: Request) -> Response:
        ids = request.query_params.getlist("run")[:MOST_WATCHED]
        return StreamingResponse(broadcaster.news(ids), media_type="text/event-stream", headers=_STREAM_HEADERS)

    return [
        Route(f"{base}/api/news", news),
        Route(f"{base}/api/runs/{{id}}/stream", stream),
        Route(f"{base}/api/runs/{{id}}/download", partial(download, places=asyncio.Semaphore(MOST_DOWNLOADS))),
        Route(f"{base}/api/runs/{{id}}/generate", generate),
        Route(f"{base}/api/runs/{{id}}/frames/{{step}}", frame),
        Route(f"{base}/api/plotly.js", plotly_js),
    ]


async def download(request: Request, places: asyncio.Semaphore) -> Response:
    """The run's folder as a zip, named after the run; with `?for=` one of EXPORTS.

    A HEAD request makes none.
    """
    folder = _run_of(request)
    if isinstance(folder, Response):
        return folder
    name = plain_name(folder.name)
    kind = request.query_params.get("for")
    if kind is None:
        archive = _Archive(partial(zip_run, folder), f"{name}-{folder.id}.zip", places)
    elif kind not in EXPORTS:
        return PlainTextResponse(f"A run can be taken as {', '.join(EXPORTS)}, and as nothing else.", status_code=404)
    else:
        try:
            obstacle = why_no_export(data_dir(), folder, kind)
        except RunError as error:
            obstacle = str(error)
        if obstacle:
            return PlainTextResponse(obstacle, status_code=409)
        archive = _Archive(partial(write_export, data_dir(), folder, kind), EXPORTS[kind].file_name(name), places)
    return Response(headers=archive.headers) if request.method == "HEAD" else archive


class _Archive(Response):
    """What is made when it is asked for, in a file without a name: nothing is left behind, however the sending ends."""

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
            await PlainTextResponse(sentence, status_code=503)(scope, receive, send)
            return
        async with self.places:
            try:
                file = await asyncio.to_thread(self._made)
            except (ExplorerError, OSError) as error:
                sentence = str(error) if isinstance(error, ExplorerError) else _no_archive(error)
                await PlainTextResponse(sentence, status_code=500)(scope, receive, send)
                return
            with file:
                headers = dict(self.headers) | {"Content-Length": str(os.fstat(file.fileno()).st_size)}
                await StreamingResponse(_pieces(file), headers=headers)(scope, receive, send)

    def _made(self) -> BinaryIO:
        """The archive, from its beginning. Raises OSError or ExplorerError where there is no room for it, say."""
        file = tempfile.TemporaryFile(prefix="gpt-explorer-")  # noqa: SIM115 - closed by who sends it
        try:
            self.make(file)
            file.seek(0)  # writes what is still buffered
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        return file


def _no_archive(error: OSError) -> str:
    return f"The file for this download cannot be made ({error.strerror or error}). Make room for temporary files."


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece


async def generate(request: Request) -> Response:
    """Text as it is written. Where too many texts are being written already, that is said before anything is done."""
    try:
        check_for_room(_client(request), request.query_params.get("language", ENGLISH))
    except TooManyTexts as error:
        return _refused(request, error)
    folder = _run_of(request)
    return folder if isinstance(folder, Response) else _Text(request, folder)


class _Text(Response):
    """Events with a text's tokens. The text takes its place among those being written as the sending begins."""

    def __init__(self, request: Request, folder: RunFolder):
        super().__init__(media_type="text/event-stream", headers=_STREAM_HEADERS)
        self.request, self.folder = request, folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with text_of(self.folder.id, self.request.query_params, _client(self.request)) as pieces:
                stream = StreamingResponse(pieces, media_type=self.media_type, headers=_STREAM_HEADERS)
                await stream(scope, receive, send)
        except TooManyTexts as error:
            await _refused(self.request, error)(scope, receive, send)


def _refused(request: Request, why: TooManyTexts) -> Response:
    """503 with the sentence; as a stream to a browser's EventSource, which hides the body of anything but a 200."""
    if "text/event-stream" in request.headers.get("accept", ""):
        events = problem_event(str(why)) + event("end", "{}")
        return Response(events, media_type="text/event-stream", headers=_STREAM_HEADERS)
    return PlainTextResponse(str(why), status_code=503, headers={"Retry-After": "10"})


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


async def frame(request: Request) -> Response:
    """One moment of a training, for the time machine: `explorer.look_inside.frames` of a step and a prompt."""
    folder = _run_of(request)
    if isinstance(folder, Response):
        return folder
    step = whole_number(request.path_params["step"])
    if step is None:
        return PlainTextResponse("A step is a whole number of at most nine digits.", status_code=404)
    prompt, anchor = request.query_params.get("prompt", ""), request.query_params.get("anchor", "")
    if len(prompt) > LONGEST_PROMPT:
        return PlainTextResponse(f"A prompt may have at most {LONGEST_PROMPT:,} characters.", status_code=400)
    language = request.query_params.get("language")
    asked = FrameRequest(
        step,
        prompt,
        whole_number(anchor),
        language if language in languages() else ENGLISH,
    )
    try:
        made = await frame_bytes(folder, asked)
    except TooManyFrames as error:
        return PlainTextResponse(str(error), status_code=503, headers={"Retry-After": "10"})
    except (ExplorerError, OSError) as error:
        sentence = str(error) if isinstance(error, ExplorerError) else "This moment is no longer kept."
        return PlainTextResponse(sentence, status_code=404)
    return Response(made, media_type="application/json", headers={"Cache-Control": "no-store"})


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
        return open_run(data_dir(), request.path_params["id"])
    except ExplorerError as error:
        return PlainTextResponse(str(error), status_code=404)


@lru_cache(maxsize=1)
def _plotly_compressed() -> bytes:
    source = Path(plotly.__file__).with_name("package_data") / "plotly.min.js"
    return gzip.compress(source.read_bytes(), compresslevel=6)
