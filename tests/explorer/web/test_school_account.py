"""Students sign in to a class with the accounts of a school: Streamlit's st.login, against a real OpenID provider."""

import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit import config
from streamlit.runtime.secrets import secrets_singleton
from streamlit.web.server.starlette.starlette_auth_routes import create_auth_routes

from explorer.web.class_access import ClassAccess, join_routes

KEY = RSAKey.generate_key(2048, {"kid": "one"})


class Provider:
    """An OpenID provider on this machine, which signs everybody in as `person`."""

    def __init__(self) -> None:
        self.person = {"sub": "7", "name": "Anna O'Neil"}
        self.nonces: dict[str, str] = {}
        routes = [
            Route("/.well-known/openid-configuration", self.configuration),
            Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]),
            Route("/keys", self.keys),
        ]
        settings = uvicorn.Config(Starlette(routes=routes), port=0, log_level="warning")
        self.server = uvicorn.Server(settings)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    async def configuration(self, _request: Request) -> JSONResponse:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return JSONResponse({"issuer": self.url} | {name: f"{self.url}/{end}" for name, end in ends.items()})

    async def authorize(self, request: Request) -> RedirectResponse:
        parameters = request.query_params
        self.nonces["code"] = parameters["nonce"]
        return RedirectResponse(f"{parameters['redirect_uri']}?code=code&state={parameters['state']}", 302)

    async def token(self, _request: Request) -> JSONResponse:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "lab", "iat": now, "exp": now + 60, "nonce": self.nonces["code"]}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims | self.person, KEY)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": signed})

    async def keys(self, _request: Request) -> JSONResponse:
        return JSONResponse({"keys": [KEY.as_dict(private=False)]})


def secrets_for(provider: str, app: str) -> str:
    """Return the secrets of an app that lets a provider sign in."""
    settings = {
        "redirect_uri": f"{app}/oauth2callback",
        "cookie_secret": "a secret of this test alone, long enough",
        "client_id": "lab",
        "client_secret": "of the lab",
        "server_metadata_url": f"{provider}/.well-known/openid-configuration",
    }
    return "\n".join(["[auth]", *(f'{name} = "{value}"' for name, value in settings.items())])


@pytest.fixture
def provider(tmp_path) -> Iterator[Provider]:
    """Start a provider and name it in the [auth] section of the secrets."""
    running, path = Provider(), tmp_path / "secrets.toml"
    path.write_text(secrets_for(running.url, "http://testserver"))
    before = config.get_option("secrets.files")
    config.set_option("secrets.files", [str(path)])
    secrets_singleton._reset()
    yield running
    config.set_option("secrets.files", before)
    secrets_singleton._reset()
    running.server.should_exit = True
    running.thread.join()


@pytest.fixture
def open_browser(known):
    """Return a function that opens a browser on an app with Streamlit's sign-in routes and those of the class."""
    middleware = [Middleware(SessionMiddleware, secret_key="of the test"), Middleware(ClassAccess)]
    app = Starlette(routes=[*create_auth_routes("/"), *join_routes()], middleware=middleware)
    return lambda: TestClient(app, follow_redirects=False)


def sign_in(browser: TestClient, provider: Provider) -> None:
    """Follow the link of the join page to the provider and back."""
    page = browser.get("/join").text
    address = page.split("/auth/login?")[1].split('"')[0].replace("&amp;", "&")
    login = urlsplit(browser.get(f"/auth/login?{address}").headers["location"])
    assert f"{login.scheme}://{login.netloc}" == provider.url
    provider.nonces["code"] = parse_qs(login.query)["nonce"][0]
    back = browser.get(f"/oauth2callback?code=code&state={parse_qs(login.query)['state'][0]}")
    assert back.status_code == 302


def test_a_student_joins_with_a_school_account_and_returns_from_another_machine(known, provider, open_browser):
    browser = open_browser()
    sign_in(browser, provider)
    assert "Anna O&#39;Neil" in browser.get("/join").text
    assert (
        browser.post("/join", data={"code": "wrong"}).status_code == 403
    )  # an account without the class code is not enough
    assert browser.post("/join", data={"code": known.code, "nickname": "Eve"}).status_code == 303
    (member,) = known.members()
    assert member.nickname == "Anna O Neil"
    elsewhere = open_browser()  # another machine, without the teacher's permission
    sign_in(elsewhere, provider)
    assert elsewhere.post("/join", data={"code": known.code}).status_code == 303
    provider.person = {"sub": "8", "name": "Anna O'Neil"}
    namesake = open_browser()
    sign_in(namesake, provider)
    assert namesake.post("/join", data={"code": known.code}).status_code == 303
    assert [member.nickname for member in known.members()] == ["Anna O Neil", "Anna O Neil 2"]
    data = (known.root / "class.sqlite3").read_bytes()
    assert provider.url.encode() not in data
    known.erase()
    assert known.visitor(browser.cookies.get("gpt_explorer_class")) is None


def test_without_an_auth_section_no_school_account_is_offered(known, open_browser):
    assert "school" not in open_browser().get("/join").text
