"""Pages that show a run learn of changes made elsewhere."""

import asyncio
import json

import pytest
from streamlit.testing.v1 import AppTest

from explorer.streaming.broadcaster import Broadcaster, RunNews, news_of
from explorer.widgets.address import NAVIGATION
from tests.explorer.streaming.test_streams import until


def change(folder, **status) -> None:
    folder.write_status(folder.status().model_copy(update=status))


CHANGES = {
    "continued": lambda run: change(run, state="queued", steps=40),
    "ended again": lambda run: change(run, attempt=7),
    "stopped": lambda run: change(run, state="stopped"),
    "renamed": lambda run: run.rename("other name"),
    "deleted": lambda run: run.delete(),
    "damaged": lambda run: run.status_path.write_bytes(b"{"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_every_change_of_a_run_changes_its_digest_and_the_digest_of_all_runs(add_run, explorer_home, how):
    run, other = add_run("one"), add_run("two")
    news, ids = RunNews(explorer_home), ([run.id], None, [other.id])
    before = [news.digest(which, fresh=True) for which in ids]
    CHANGES[how](run)
    after = [news.digest(which, fresh=True) for which in ids]
    assert [one == two for one, two in zip(before, after, strict=True)] == [False, False, True]


def test_training_progress_does_not_change_a_digest_but_a_new_run_does(running_run, add_run, explorer_home):
    news = RunNews(explorer_home)
    before = news.digest([running_run.id], fresh=True), news.digest()
    change(running_run, step=12, val_loss=2.0, seconds=3.0)
    assert (news.digest([running_run.id], fresh=True), news.digest()) == before
    add_run("new")
    assert news.digest([running_run.id], fresh=True) == before[0] and news.digest() != before[1]


def test_the_news_stream_sends_the_current_digest_and_a_new_one_after_a_change(finished_run, explorer_home):
    async def scene():
        broadcaster = Broadcaster()
        stream = broadcaster.news([finished_run.id])
        seen = await until(stream, lambda new: new)
        CHANGES["continued"](finished_run)
        seen += await until(stream, lambda new: new)
        broadcaster.close()
        return seen, [chunk async for chunk in stream]

    seen, rest = asyncio.run(scene())
    assert [name for name, _, _ in seen] == ["news", "news"] and rest == []
    first, second = (data["digest"] for _, data, _ in seen)
    assert first != second == news_of(explorer_home).digest([finished_run.id], fresh=True)


@pytest.mark.parametrize("page", ["home", "runs", "train", "generate", "look_inside", "learn"])
def test_every_page_that_shows_a_run_watches_it(finished_run, explorer_home, page):
    app = AppTest.from_file(NAVIGATION, default_timeout=60)
    app.query_params["run"] = finished_run.id
    app.run().switch_page(f"../pages/{page}.py").run()
    assert not app.exception
    drawn = [json.loads(component.proto.json) for component in app.sidebar.get("bidi_component")]
    (data,) = [data for data in drawn if data["view"] == "watchRuns"]
    assert data["runs"] == (None if page in ("home", "runs") else [finished_run.id])
    assert data["drawn"] == news_of(explorer_home).digest(data["runs"])
