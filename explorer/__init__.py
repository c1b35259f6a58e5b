"""Everything that knows Streamlit: the pages' parts, the live streams, the server."""

import sys
from typing import Any


def jupyter_server() -> dict[str, Any]:
    """Return how jupyter-server-proxy starts the app, one for each user; pyproject.toml names it as an entry point."""
    # Jupyter has let the user in and checked the request's origin; the app answers to this machine's name alone.
    own = "127.0.0.1:{port}"
    return {
        "command": [sys.executable, "-m", "explorer", "--port", "{port}", "--base-path", "{base_url}gpt-explorer"],
        "absolute_url": True,
        "timeout": 120,  # seconds, for its first start
        "request_headers_override": {"Host": own, "Origin": f"http://{own}"},
        "launcher_entry": {"title": "GPT Explorer"},
    }
