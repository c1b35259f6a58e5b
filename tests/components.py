"""Read what the components of a page under test received, request our routes as they do, and wait for jobs."""

import json
import threading
from typing import Any

from streamlit.testing.v1 import AppTest


def drawn(app: AppTest, field: str) -> list[dict[str, Any]]:
    """Return the data of the page's components that have a field."""
    data = [json.loads(component.proto.json or "{}") for component in app.get("bidi_component")]
    return [one for one in data if field in one]


def clocks(app: AppTest) -> list[dict[str, Any]]:
    """Return the data of every component that moves with the time machine."""
    return drawn(app, "saved_steps")


def frame_of(app: AppTest, client) -> dict[str, Any]:
    """Return the frame that the time machine of a page shows first, as its route answers."""
    clock = clocks(app)[0]
    params = {name: clock[name] for name in ("prompt", "language", "anchor")}
    response = client.get(f"/api/runs/{clock['run']}/frames/{clock['step']}", params=params)
    assert response.status_code == 200, response.text
    return response.json()


def wait_for_jobs() -> None:
    """Wait for the end of all jobs that pages have begun."""
    for thread in threading.enumerate():
        if thread.name == "job":
            thread.join()
