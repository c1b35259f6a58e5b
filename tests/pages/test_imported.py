"""An external GPT-2 with subword tokens on every page: imported, inspected, used to generate, trained further."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.runs.ancestry import fork, fork_config
from core.runs.archive import zip_run
from core.runs.folder import list_runs
from core.runs.model_files import import_model
from core.runs.worker import train_run
from core.text.own_text import save_text
from core.text.token_display import visible
from core.text.tokenizers import Tokenizer, load_tokenizer
from explorer.look_inside import frames
from explorer.look_inside.sections import SECTIONS
from explorer.widgets.address import NAVIGATION
from tests.components import clocks, frame_of, wait_for_jobs
from tests.core.import_export.conftest import TEXT, bpe_folder, gpt2_folder, theirs  # noqa: F401 - fixtures
from tests.explorer.streaming.test_streams import events_of


@pytest.fixture
def corpus(explorer_home) -> str:
    return save_text(TEXT * 60, "To be", explorer_home).name


@pytest.fixture
def imported(explorer_home, gpt2_folder, corpus):  # noqa: F811
    return import_model(explorer_home, gpt2_folder, corpus, "their-gpt2")


def page(name: str) -> AppTest:
    return AppTest.from_file(NAVIGATION, default_timeout=60).switch_page(f"../pages/{name}.py")


def test_model_files_are_imported_on_the_runs_page(explorer_home, gpt2_folder, corpus):  # noqa: F811
    app = page("runs").run()
    app.button(key="import_files_go").click().run()
    assert "Choose the files first" in app.error[0].value.replace("\\", "")
    assert not app.get("file_uploader")[0].proto.type  # the server checks names and content, not the browser
    files = [(path.name, path.read_bytes(), "") for path in gpt2_folder.iterdir()]
    app.get("file_uploader")[0].set_value(files)
    app.selectbox(key="import_corpus").set_value(corpus)
    app.text_input(key="import_name_0").set_value("<b>their</b> gpt2")
    app.button(key="import_files_go").click().run()
    assert not app.exception and not app.error
    (run,) = list_runs(explorer_home)
    assert run.name == "<b>their</b> gpt2" and app.query_params["run"] == run.id
    assert app.title[0].value == "Look inside"


def test_the_zip_of_a_run_is_imported_with_its_history(finished_run, explorer_home, tmp_path):
    with (tmp_path / "run.zip").open("wb") as file:
        zip_run(finished_run, file)
    app = page("runs").run()
    app.get("file_uploader")[0].set_value([("run.zip", (tmp_path / "run.zip").read_bytes(), "application/zip")])
    app.button(key="import_files_go").click().run()
    assert not app.exception and not app.error
    (again,) = [run for run in list_runs(explorer_home) if run.id != finished_run.id]
    assert app.title[0].value == "Train" and app.query_params["run"] == again.id
    assert again.name == finished_run.name and again.rows("metrics") == finished_run.rows("metrics")


def test_an_invalid_model_name_is_refused_and_stays_in_its_field(explorer_home):
    app = page("runs").run()
    app.text_input(key="import_hub_0").set_value("../../etc")
    app.button(key="import_hub_go").click().run()
    assert not app.exception and "is not a model name" in app.error[0].value.replace("\\", "")
    assert app.text_input(key="import_hub_0").value == "../../etc"


def drawn(app: AppTest) -> list[str]:
    """Return the data of the charts and components of a page as JSON."""
    components = [element.proto for element in app.get("bidi_component")]
    charts = [element.proto.spec for element in app.get("plotly_chart")]
    return charts + [proto.json for proto in components if not proto.component_name.endswith("page")]


def pieces_in(text: str, tokenizer: Tokenizer) -> set[str]:
    """Return the subwords of more than one letter that appear in the text as a token."""
    pieces = {visible(token) for token in tokenizer.tokens if len(token) > 1}
    return {piece for piece in pieces if f'"{piece}"' in text or f"'{piece}'" in text}


@pytest.mark.parametrize("section", [section.name for section in SECTIONS if section.gpt and section.name != "Health"])
def test_an_imported_model_opens_in_every_section_with_its_subword_tokens(imported, section, client):
    app = page("look_inside")
    app.query_params["view"] = section
    app.run()
    wait_for_jobs()  # slow computations have ended after this
    app.run()
    assert not app.exception and not app.error and not app.get("progress")
    assert app.title[0].value == "Look inside"
    headings = [element.value for element in app.markdown if element.value.startswith("## ")]
    assert headings and drawn(app)
    if section == "Heads":  # this section shows all heads
        assert all(name in "".join(drawn(app)) for name in ("1.1", "3.4"))
    else:
        said = "".join(element.value for element in app.caption)
        said += str(frame_of(app, client)) if clocks(app) else ""
        assert pieces_in("".join(drawn(app)) + said, load_tokenizer(imported.tokenizer_path))


@pytest.mark.parametrize(
    ("name", "title", "sentence"),
    [
        ("home", "Watch a language model learn", "An imported model"),
        ("generate", "Generate", "Weights of step 0 of 0. The run is finished."),
        ("runs", "Runs", "Import a GPT-2, GPT-NeoX or Llama of any size"),
        ("train", "Train", "An imported model has no training of its own to continue."),
        ("data", "Data", "the size of the vocabulary"),
    ],
)
def test_an_imported_model_opens_on_every_page(imported, name, title, sentence):
    app = page(name)
    app.query_params["run"] = imported.id
    app.run()
    assert not app.exception and not app.error
    assert app.title[0].value == title
    assert sentence in " ".join(element.value for element in app.caption).replace("\\", "")
    if name == "generate":
        assert app.selectbox(key="inspect_run").value == imported.id
    if name == "train":
        assert "their-gpt2" in " ".join(element.value for element in app.markdown).replace("\\", "")


def test_an_imported_model_generates_text(imported, client):
    app = page("generate").run()
    app.select_slider(key="set-max_new_tokens").set_value(8)
    app.text_area(key="generate_prompt").set_value("To be, or — 😀")
    app.button(key="generate_go").click().run()
    assert not app.exception and not app.error
    (written,) = [data for data in map(json.loads, drawn(app)) if "prompt" in data]
    tokenizer = load_tokenizer(imported.tokenizer_path)
    tokens = [data for name, data, _ in events_of(client.get(f"/{written['url']}").text) if name == "token"]
    assert written["prompt"] == "To be, or — 😀" and len(tokens) == 8
    for token in tokens:
        assert token["visible"] in {visible(known) for known in tokenizer.tokens} and 0 < token["p"] < 1
        assert not any("\ufffd" in text for _, _, text in token["alternatives"])  # no incomplete characters
        assert [p for _, p, _ in token["alternatives"]] == sorted(
            (p for _, p, _ in token["alternatives"]), reverse=True
        )
    assert pieces_in(json.dumps(tokens, ensure_ascii=False), tokenizer)


def test_an_imported_model_is_trained_further_and_opens_again(imported, explorer_home):
    app = page("train")
    app.query_params.update({"fork": imported.id})
    app.run()
    assert not app.exception and not app.error
    assert not app.button(key="train_start").disabled
    changes = {"train.steps": 2, "train.batch_size": 2, "train.eval_windows": 2, "train.sample_length": 4}
    further = fork(explorer_home, imported, None, fork_config(imported).replace(changes))
    assert train_run(further, explorer_home).state == "finished"
    assert [row["step"] for row in further.rows("samples")] == [0, 2]
    assert load_tokenizer(further.tokenizer_path).tokens == load_tokenizer(imported.tokenizer_path).tokens
    for name in ("train", "look_inside"):
        app = page(name)
        app.query_params["run"] = further.id
        app.run()
        assert not app.exception and not app.error


def test_a_prompt_too_long_to_draw_gets_a_note_about_the_tokens_read(imported, monkeypatch):
    monkeypatch.setattr(frames, "MAX_DRAWN", 12)
    app = page("look_inside")
    app.query_params["view"] = "Attention"
    app.run()
    app.text_input(key="inspect_prompt").set_value("To be, or not to be: that is the question. " * 3).run()
    for _ in range(200):  # the coarse map comes from a background job
        notes = [caption.value for caption in app.caption if "are read," in caption.value]
        if notes:
            break
        app.run()
    assert not app.exception and not app.error
    (notes,) = notes
    assert "The last 32 of your" in notes and "tokens" in notes and "letters" not in notes
