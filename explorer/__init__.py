"""The Streamlit app: the parts of the pages, the live streams, the server."""

import sys
from typing import Any


def jupyter_server() -> dict[str, Any]:
    """Return how jupyter-server-proxy starts the app, once per user; pyproject.toml names it as an entry point."""
    # Jupyter has authenticated the user and checked the request's origin; the app answers only to this machine's name.
    own = "127.0.0.1:{port}"
    return {
        "command": [sys.executable, "-m", "explorer", "--port", "{port}", "--base-path", "{base_url}gpt-explorer"],
        "absolute_url": True,
        "timeout": 120,  # seconds, for the first start
        "request_headers_override": {"Host": own, "Origin": f"http://{own}"},
        "launcher_entry": {"title": "GPT Explorer"},
    }
