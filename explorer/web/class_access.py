"""Access to a class: who is let in, the pages where students join and the teacher opens it, and short links.

If `.streamlit/secrets.toml` has Streamlit's [auth] section, students sign in with school accounts. This uses
Streamlit's own `st.login`: its routes, its cookie and Authlib, which implements OpenID Connect. A student who has
signed in still types the class code; the nickname is the account's name.
"""

import json
import re
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.auth_util import encode_provider_token, get_secrets_auth_section, is_authlib_installed

# `st.user` exists only in pages, and nobody has a page before joining.
from streamlit.web.server.starlette.starlette_auth_routes import _get_cookie_value_from_request
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from core.classroom import STUDENT_SECONDS, ClassError, Classroom, WrongCode
from core.lessons.lesson_text import ENGLISH
from core.palette import DARK, LIGHT
from explorer.i18n.language import _
from explorer.services.visitors import COOKIE, JOIN, LINK, TEACH, served_class, set_visitor, visitor_of
from explorer.web.html import address_base, template

WRONG_OF_ONE, WRONG_OF_ALL = 20, 60  # wrong codes per minute, from one address and from all, before all are refused
_MINUTE = 60.0  # seconds
_LONGEST_FORM = 4096  # bytes
NEXT = "next"  # in an address and a form: the short code of the link that is opened after joining
_LINK_CODE = re.compile(r"[a-zA-Z0-9]{4}")
LOGIN, LOGOUT, CALLBACK = "auth/login", "auth/logout", "oauth2callback"  # Streamlit's routes
_DEFAULT = "default"  # Streamlit's name for the provider whose settings are in [auth] itself


class ClassAccess:
    """ASGI middleware that lets in browsers with a cookie of the class, and sends others to the page for joining."""

    def __init__(self, app: ASGIApp, base_path: str = ""):
        self.app, self._base = app, address_base(base_path)
        # A monitor may check that the server answers; Streamlit's scripts are the same for everybody.
        paths = (JOIN, TEACH, "_stcore/health", "favicon.ico", LOGIN, LOGOUT, CALLBACK)
        self._open = {f"{self._base}/{path}" for path in paths}
        self._scripts = f"{self._base}/static/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not served_class() or self._is_open(scope["path"]):
            await self.app(scope, receive, send)
        elif member := visitor_of(Headers(scope=scope).get("cookie", "")):
            set_visitor(member)
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "not a member of the class"})
        elif scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", ""):
            code = scope["path"].removeprefix(f"{self._base}/{LINK}/")
            wanted = f"?{NEXT}={code}" if _LINK_CODE.fullmatch(code) else ""
            await RedirectResponse(f"{self._base}/{JOIN}{wanted}", HTTPStatus.SEE_OTHER)(scope, receive, send)
        else:
            await PlainTextResponse("Join the class first.", HTTPStatus.UNAUTHORIZED)(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open or path.startswith(self._scripts)


class _Tries:
    """The wrong codes of the last minute. After too many, a client must wait, so that no code is found by guessing."""

    def __init__(self) -> None:
        self._by_client: defaultdict[str, deque[float]] = defaultdict(deque)

    def add(self, client: str) -> None:
        self._by_client[client].append(time.monotonic())

    def seconds_to_wait(self, client: str) -> float:
        since = time.monotonic() - _MINUTE
        for name, times in list(self._by_client.items()):
            while times and times[0] < since:
                times.popleft()
            if not times:
                del self._by_client[name]
        own = self._by_client.get(client, ())
        everyone = sorted(when for times in self._by_client.values() for when in times)
        full = [times for times, most in ((own, WRONG_OF_ONE), (everyone, WRONG_OF_ALL)) if len(times) >= most]
        return max((times[0] - since for times in full), default=0.0)


def join_routes(base_path: str = "") -> list[Route]:
    """Return the pages for joining and for the teacher, and short links, below the base path of the server."""
    base, tries = address_base(base_path), _Tries()

    async def join(request: Request) -> Response:
        return await _answer(request, tries, base, teaches=False)

    async def teach(request: Request) -> Response:
        return await _answer(request, tries, base, teaches=True)

    both = ["GET", "POST"]
    return [
        Route(f"{base}/{JOIN}", join, methods=both),
        Route(f"{base}/{TEACH}", teach, methods=both),
        Route(f"{base}/{LINK}/{{code}}", partial(_follow_link, base=base)),
    ]


async def _follow_link(request: Request, base: str) -> Response:
    """Open the page that a short code stands for."""
    classroom, code = served_class(), request.path_params["code"]
    address = classroom.linked_address(code) if classroom else None
    if classroom and address is None:
        sentence = _("The class has no link {code}. Compare it with your teacher's.", code=repr(code[:20]))
        return _page(classroom, base, problem=sentence, status=HTTPStatus.NOT_FOUND, lost=True)
    return RedirectResponse(f"{base}/{address or ''}", HTTPStatus.SEE_OTHER)


async def _answer(request: Request, tries: _Tries, base: str, *, teaches: bool) -> Response:
    classroom = served_class()
    if classroom is None:
        return RedirectResponse(f"{base}/", HTTPStatus.SEE_OTHER)
    if request.method == "GET":
        parameters = {name: request.query_params.get(name, "") for name in ("code", NEXT)}
        way = _ways_to_sign_in(request, base, teaches=teaches)
        return _page(classroom, base, way, teaches=teaches, code=parameters["code"], wanted=parameters[NEXT])
    client = request.client.host if request.client else ""
    fields: dict[str, str] = {}
    way = _ways_to_sign_in(request, base, teaches=teaches)
    try:
        if wait := tries.seconds_to_wait(client):
            status, sentence = HTTPStatus.TOO_MANY_REQUESTS, _("Too many wrong codes. Wait a minute and try again.")
            return _page(classroom, base, way, teaches=teaches, problem=sentence, status=status, wait=wait)
        if int(request.headers.get("content-length") or _LONGEST_FORM + 1) > _LONGEST_FORM:
            raise ClassError(_("This form is too long."))
        fields = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        if teaches:
            cookie = classroom.teach(fields.get("key", ""))
        else:
            account = way.account or SchoolAccount("", fields.get("nickname", ""))
            cookie = classroom.join(fields.get("code", ""), account.name, account.id)
    except ClassError as error:
        if isinstance(error, WrongCode):
            tries.add(client)
        shown = {name: fields.get(name, "") for name in ("code", "nickname")} | {"wanted": fields.get(NEXT, "")}
        return _page(classroom, base, way, teaches=teaches, problem=str(error), status=HTTPStatus.FORBIDDEN, **shown)
    code = fields.get(NEXT, "")
    wanted = f"{LINK}/{code}" if _LINK_CODE.fullmatch(code) else ""
    answer = RedirectResponse(f"{base}/{'classroom' if teaches else wanted}", HTTPStatus.SEE_OTHER)
    secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    answer.set_cookie(
        COOKIE, cookie, max_age=STUDENT_SECONDS, path=f"{base}/", httponly=True, samesite="lax", secure=secure
    )
    return answer


class SchoolAccount(NamedTuple):
    """An account that has signed in."""

    id: str  # of the provider, and of the account there
    name: str


def sign_in_links(base: str) -> dict[str, str]:
    """Return the address for signing in with each provider, by its name; none without [auth]."""
    auth = get_secrets_auth_section()
    if not auth or not is_authlib_installed():
        return {}
    named = [name for name, section in auth.items() if isinstance(section, Mapping) and "client_id" in section]
    providers = [_DEFAULT, *named] if "client_id" in auth else named
    return {name: f"{base}/{LOGIN}?{urlencode({'provider': encode_provider_token(name)})}" for name in providers}


def account_of(request: Request) -> SchoolAccount | None:
    """Return the account that a browser has signed in with, from Streamlit's signed cookie."""
    if not get_secrets_auth_section() or not (value := _get_cookie_value_from_request(request, USER_COOKIE_NAME)):
        return None
    user = json.loads(value)
    if not user.get("is_logged_in") or not user.get("sub"):
        return None
    name = user.get("nickname") or user.get("given_name") or user.get("name") or ""
    return SchoolAccount(json.dumps([user.get("iss"), user.get("provider"), user["sub"]]), str(name))


class _SignIn(NamedTuple):
    """A browser's sign-in with an account: the addresses that start it, or the account that is signed in."""

    links: dict[str, str]
    account: SchoolAccount | None


_NO_SIGN_IN = _SignIn({}, None)


def _ways_to_sign_in(request: Request, base: str, *, teaches: bool) -> _SignIn:
    return _NO_SIGN_IN if teaches else _SignIn(sign_in_links(base), account_of(request))


def _page(
    classroom: Classroom, base: str, way: _SignIn = _NO_SIGN_IN, *, teaches: bool = False, problem: str = "",
    code: str = "", nickname: str = "", wanted: str = "", status: int = HTTPStatus.OK, wait: float = 0.0,
    lost: bool = False,
) -> Response:  # fmt: skip
    html = template("join").render(
        title=classroom.title, teaches=teaches, problem=problem, code=code[:40], nickname=nickname[:40], _=_,
        wanted=wanted if _LINK_CODE.fullmatch(wanted) else "", lost=lost, home=f"{base}/",
        way=way, logout=f"{base}/{LOGOUT}",
        action=f"{base}/{TEACH if teaches else JOIN}", light=LIGHT, dark=DARK, language=ENGLISH,
    )  # fmt: skip
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(round(wait) + 1)} if wait else {})
    return HTMLResponse(html, status, headers)
