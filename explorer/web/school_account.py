"""Sign-in to a class with the accounts of a school, where `.streamlit/secrets.toml` has Streamlit's [auth] section.

All of it is Streamlit's own `st.login`: its routes, its cookie and Authlib, which speaks OpenID Connect. A student who
has signed in still types the class code; the nickname is the account's name.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request
from streamlit.auth_util import encode_provider_token, get_secrets_auth_section, is_authlib_installed

# `st.user` is known to pages alone, and nobody has a page before joining.
from streamlit.web.server.starlette.starlette_auth_routes import _get_cookie_value_from_request
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

LOGIN, LOGOUT, CALLBACK = "auth/login", "auth/logout", "oauth2callback"  # Streamlit's routes
_DEFAULT = "default"  # how Streamlit names the provider whose settings stand in [auth] itself


class SchoolAccount(NamedTuple):
    """Who has signed in."""

    id: str  # of the provider, and of the person there
    name: str


def sign_in_links(base: str) -> dict[str, str]:
    """Return the address that begins to sign in with each provider, by its name; none where there is no [auth]."""
    auth = get_secrets_auth_section()
    if not auth or not is_authlib_installed():
        return {}
    named = [name for name, section in auth.items() if isinstance(section, Mapping) and "client_id" in section]
    providers = [_DEFAULT, *named] if "client_id" in auth else named
    return {name: f"{base}/{LOGIN}?{urlencode({'provider': encode_provider_token(name)})}" for name in providers}


def account_of(request: Request) -> SchoolAccount | None:
    """Return the account with which a browser has signed in, by Streamlit's signed cookie."""
    if not get_secrets_auth_section() or not (value := _get_cookie_value_from_request(request, USER_COOKIE_NAME)):
        return None
    user = json.loads(value)
    if not user.get("is_logged_in") or not user.get("sub"):
        return None
    name = user.get("nickname") or user.get("given_name") or user.get("name") or ""
    return SchoolAccount(json.dumps([user.get("iss"), user.get("provider"), user["sub"]]), str(name))
