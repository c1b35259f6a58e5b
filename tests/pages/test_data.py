"""Data: choosing a text, adding an own text, and refusing texts that no model can learn from."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants
from streamlit.testing.v1 import AppTest

from core.text.corpora import catalogue, load_corpus
from core.text.own_text import save_text
from explorer.data import tokenizer_cards
from explorer.services import jobs
from explorer.widgets.address import NAVIGATION, ROOT
from tests.components import wait_for_jobs
from tests.core.import_export.hub_server import serving

POEM = "The fog comes\non little cat feet.\nIt sits looking\nover harbor and city\n" * 20


@pytest.fixture
def app(explorer_home) -> AppTest:
    return AppTest.from_file(ROOT / "pages" / "data.py", default_timeout=60).run()


def own_texts(data_dir) -> list:
    return [corpus for corpus in catalogue(data_dir) if corpus.own]


def paste(app: AppTest, text: str, title: str = "") -> AppTest:
    app.text_input(key="own_title").set_value(title)
    app.text_area(key="own_text").set_value(text)
    return app.button(key="own_text_go").click().run()


def said(app: AppTest) -> str:
    return "\n".join(str(element.value) for kind in ("markdown", "caption", "error") for element in app.get(kind))


def test_the_default_text_is_shown_with_its_figures(app):
    assert not app.exception
    assert app.selectbox(key="corpus").value == "shakespeare"
    assert "68" in [metric.value for metric in app.metric]
    assert "466,844 in the validation set" in said(app)
    assert len(app.get("plotly_chart")) == 1
    assert not app.button(key="data_train").disabled


def test_typed_text_is_encoded(app):
    before = len(app.get("bidi_component"))
    app.text_input(key="encode_text").set_value("Ada").run()
    assert not app.exception
    assert len(app.get("bidi_component")) == before + 1


def test_a_click_samples_another_batch(app):
    drawn = app.get("bidi_component")[-1].proto.json
    app.button(key="draw_batch").click().run()
    assert app.get("bidi_component")[-1].proto.json != drawn


def test_an_own_text_is_saved_selected_and_deleted(app, explorer_home):
    paste(app, POEM, "Fog <img src=x onerror=alert(1)>")
    assert not app.exception and not app.error
    (corpus,) = own_texts(explorer_home)
    assert corpus.title == "Fog <img src=x onerror=alert(1)>"
    assert app.selectbox(key="corpus").value == corpus.name
    app.button(key="delete_text").click().run()
    assert not app.exception
    assert own_texts(explorer_home) == []
    assert app.selectbox(key="corpus").value == "shakespeare"


def test_an_uploaded_file_is_read_as_utf8_and_titled_after_its_name(app, explorer_home):
    app.file_uploader(key="own_file").set_value(("fog.txt", b"\xef\xbb\xbf" + POEM.encode(), "text/plain"))
    app.button(key="own_file_go").click().run()
    assert not app.exception and not app.error
    assert own_texts(explorer_home)[0].title == "fog"


@pytest.mark.parametrize("name", ["notes.md", "chat.csv", "tunes.abc", "fog", "FOG.TXT", "fog.tar.gz"])
def test_a_text_is_accepted_with_any_file_name(app, explorer_home, name):
    app.file_uploader(key="own_file").set_value((name, POEM.encode(), "application/octet-stream"))
    app.button(key="own_file_go").click().run()
    assert not app.exception and not app.error
    assert not app.file_uploader(key="own_file").proto.type
    assert len(own_texts(explorer_home)) == 1


def test_an_ambiguous_file_is_read_with_the_chosen_encoding_and_column(app, explorer_home):
    table = "id,Späße,answer\n" + "1,Größe,Übermut tut selten gut\n" * 200
    app.file_uploader(key="own_file").set_value(("jokes.csv", table.encode("cp1252"), "text/csv")).run()
    assert app.selectbox(key="own_encoding").value == "cp1252"
    assert app.selectbox(key="own_column").options == ["answer", "Späße"]
    app.selectbox(key="own_column").set_value("Späße")
    app.button(key="own_file_go").click().run()
    assert not app.exception and not app.error
    (text,) = own_texts(explorer_home)
    assert load_corpus(text.name, explorer_home) == "\n".join(["Größe"] * 200)


def test_a_dataset_of_the_hub_is_found_by_name_and_saved_with_its_license(app, explorer_home, tmp_path, monkeypatch):
    rows = pa.table({"id": [1, 2], "text": [POEM, "=1+1 *Größe*"]})
    pq.write_table(rows, tmp_path / "train.parquet")
    with serving({"somebody/poems": tmp_path}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # as HF_ENDPOINT does if it is set before the import
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        paste(app, " \n ")
        assert "empty" in app.error[0].value
        app.text_input(key="hub_dataset").set_value("somebody/none").run()
        assert "no dataset called 'somebody/none'" in app.error[0].value
        app.text_input(key="hub_dataset").set_value("somebody/poems").run()
        app.button(key="hub_go").click().run()
    assert not app.exception and not app.error
    (text,) = own_texts(explorer_home)
    assert load_corpus(text.name, explorer_home) == f"{POEM}\n\n=1+1 *Größe*"
    assert app.selectbox(key="corpus").value == text.name and text.title == "somebody/poems"
    assert "cc0" in said(app)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"abc\xff", r"byte 3"),
        (b"a\0b" * 100, "NUL character at position 1"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(app, explorer_home, data, sentence):
    app.file_uploader(key="own_file").set_value(("bad.txt", data, "text/plain"))
    app.button(key="own_file_go").click().run()
    assert not app.exception
    assert sentence in app.error[0].value
    assert own_texts(explorer_home) == []


def test_an_empty_paste_is_refused_and_stays_in_its_field(app, explorer_home):
    paste(app, " \n ")
    assert "empty" in app.error[0].value
    assert app.text_area(key="own_text").value == " \n "
    assert app.selectbox(key="corpus").value == "shakespeare"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("too short", "Choose a longer text"), ("a" * 2000, "only one distinct character"), ("😀", "distinct")],
)
def test_a_too_short_or_uniform_text_is_refused_and_stays_in_its_field(app, explorer_home, text, sentence):
    paste(app, text)
    assert not app.exception
    assert sentence in app.error[0].value
    assert app.text_area(key="own_text").value == text
    assert not own_texts(explorer_home)


def test_a_text_too_short_for_a_longer_context_cannot_be_trained_on(app):
    paste(app, "the quick brown fox " * 30)
    assert not app.error
    app.query_params["set"] = "model.block_size:256"
    app.run()
    assert "Choose a longer text" in app.error[0].value
    assert app.button(key="data_train").disabled


@pytest.mark.parametrize("text", ["שלום עולם\n" * 200, "word " * 200_000, "🦊🐻 e\u0301\u200b\t\n" * 200])
def test_unusual_texts_are_accepted(app, text):
    paste(app, text)
    assert not app.exception and not app.error
    assert not app.button(key="data_train").disabled


def test_a_short_text_gets_a_warning_about_overfitting(app):
    assert not app.info
    paste(app, POEM)
    assert "1,420 characters" in app.info[0].value and "its validation loss then rises" in app.info[0].value
    assert "your own" not in said(app)


def test_tokens_are_shown_as_chosen_and_too_large_a_vocabulary_is_refused(app):
    paste(app, POEM)
    app.selectbox(key="set-data.tokenizer").set_value("bpe").run()
    assert not app.exception
    assert "makes at most" in app.error[0].value and "not 512" in app.error[0].value
    app.select_slider(key="set-data.vocab_size").set_value(260).run()
    assert not app.exception and not app.error
    assert "Token frequencies" in said(app) and "Character frequencies" not in said(app)
    assert "a vocabulary of 260 tokens" in said(app)
    app.text_input(key="encode_text").set_value("fog é").run()
    assert any('"bytes": ["' in component.proto.json for component in app.get("bidi_component"))
    assert any('"parameters": [' in component.proto.json for component in app.get("bidi_component"))
    app.text_input(key="search_tokens").set_value("259").run()
    [found] = app.dataframe[0].value.to_dict("records")
    assert (found["Id"], found["Length"]) == (259, len(found["Bytes"].split())) and found["Count"] > 1
    app.text_input(key="search_tokens").set_value("no such token").run()
    assert not app.exception and not app.dataframe
    assert not app.button(key="data_train").disabled


def test_an_own_text_is_checked_with_the_chosen_tokenizer(app, explorer_home):
    app.selectbox(key="set-data.tokenizer").set_value("bpe").run()
    paste(app, POEM)
    assert "makes at most" in app.error[0].value
    assert not own_texts(explorer_home)


def test_choosing_a_text_after_a_task_drops_the_settings_of_the_task(app):
    app.query_params.update({"preset": "modular-addition"})
    app.selectbox(key="corpus").set_value("modular-addition").run()
    assert not app.info  # a task gets no warning about a short text
    app.selectbox(key="corpus").set_value("shakespeare").run()
    assert not app.exception and not app.error
    assert "4,201,594" in [metric.value for metric in app.metric]  # nine tenths


@pytest.mark.parametrize("page", ["data", "train"])
def test_a_long_text_is_tokenized_in_a_job_that_can_be_stopped(explorer_home, monkeypatch, page):
    monkeypatch.setattr(tokenizer_cards, "LONG", 500)
    corpus = save_text(POEM, "Fog", explorer_home)
    app = AppTest.from_file(NAVIGATION, default_timeout=60).switch_page(f"../pages/{page}.py")
    app.query_params["set"] = f"data.corpus:{corpus.name};data.tokenizer:bpe;data.vocab_size:260"
    jobs._turns.take()  # as if another job were running
    go = "data_train" if page == "data" else "train_start"
    app.run()
    assert not app.exception and "waiting for an earlier computation" in app.get("progress")[0].proto.text
    assert go not in [button.key for button in app.button if not button.disabled]
    app.button(key=next(button.key for button in app.button if (button.key or "").startswith("stop_"))).click().run()
    jobs._turns.end()
    wait_for_jobs()
    app.run()
    assert "Stopped before it was done." in said(app)
    next(button for button in app.button if (button.key or "").startswith("again_")).click().run()
    wait_for_jobs()
    app.run()
    assert not app.exception and not app.error and not app.button(key=go).disabled
