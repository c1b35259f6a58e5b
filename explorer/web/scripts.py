"""The scripts of every page, Streamlit's and those of our components: compressed once, and sent from memory.

Streamlit reads each of its scripts from disk in a thread, and sends it uncompressed: 2.3 MB to each browser.
"""

import asyncio
import gzip
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.file_util import get_static_dir

from explorer.components.modules import COMPONENTS, MODULES, with_imports
from explorer.web.html import address_base

_TYPES = {".js": "text/javascript", ".css": "text/css"}
_FOR_A_YEAR = {"Cache-Control": "public, immutable, max-age=31536000"}
_STREAMLIT = {
    f"static/{folder}/{file.name}": file
    for folder in ("js", "css")
    for file in sorted(Path(get_static_dir(), "static", folder).iterdir())
}
_MODULES = {file.relative_to(COMPONENTS).as_posix(): file for file in sorted(COMPONENTS.rglob("*.js"))}
# Browsers cache each address for good, so the modules' address changes with any of them.
_ADDRESS = f"static/components/{hashlib.sha256(b''.join(map(Path.read_bytes, _MODULES.values()))).hexdigest()[:12]}/"

# Scripts that a page needs besides those in Streamlit's shell: preloaded, they are ready for the first element.
# Streamlit's are listed by the start of their names; ours by page, and they come before Streamlit's.
_PARTS = ("BidiComponent", "PageLink", "Button", "serialization", "recordbatch", "_arrayReduce")
_VIEWS = ("page/view.js", "time_bar/view.js", "time_machine/view.js")
_SCRIPTS_OF = {"": (*_VIEWS, "page/prerender.js"), "look_inside": _VIEWS}


class Scripts:
    """ASGI middleware that sends scripts and style sheets. An app's routes cannot have Streamlit's addresses."""

    def __init__(self, app: ASGIApp, base_path: str = ""):
        self.app = app
        files = _STREAMLIT | {_ADDRESS + name: file for name, file in _MODULES.items()}
        self._files = {f"{address_base(base_path)}/{name}": file for name, file in files.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = self._files.get(scope["path"]) if scope["type"] == "http" else None
        if file is None:
            await self.app(scope, receive, send)
            return
        await (await compressed_file(file, Headers(scope=scope), _FOR_A_YEAR))(scope, receive, send)


async def compressed_file(file: Path, request: Headers, headers: Mapping[str, str]) -> Response:
    """Return the response with a script or style sheet, compressed once, if the browser accepts gzip."""
    body, headers = await asyncio.to_thread(_compressed, file), {**headers, "Vary": "Accept-Encoding"}
    if "gzip" in request.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, media_type=_TYPES[file.suffix], headers=headers)


@lru_cache(maxsize=512)
def _compressed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), compresslevel=6)


def import_map(base_path: str = "") -> str:
    """Return the HTML with the addresses of our components' modules; it must come before any script."""
    imports = {MODULES: f"{address_base(base_path)}/{_ADDRESS}"}
    return f'<script type="importmap">{json.dumps({"imports": imports})}</script>'


def preloads(page: str, base_path: str = "") -> str:
    """Return the HTML that preloads a page's scripts while those of Streamlit's shell run."""
    modules = [script for name in _SCRIPTS_OF.get(page, ()) for script in with_imports(name)]
    names = [_ADDRESS + script.relative_to(COMPONENTS).as_posix() for script in dict.fromkeys(modules)]
    names += [name for name in _STREAMLIT if Path(name).name.split(".")[0] in _PARTS]
    return "".join(f'<link rel="modulepreload" crossorigin href="{address_base(base_path)}/{name}">' for name in names)
