"""Choices that depend on another input: many prompts in one session, on every page that has such choices."""

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import InitialValue, Selectbox

from core.presets import PRESETS
from core.runs.folder import list_runs
from core.text.own_text import save_text
from explorer.look_inside.sections import sections_of
from explorer.services import jobs
from explorer.services.shared import open_model
from explorer.widgets.address import NAVIGATION
from tests.components import wait_for_jobs

# Short, longer than the context, shorter, equally long, empty, and with characters that the model does not know.
PROMPTS = ("to be", "To be, or not to be", "or", "is", "", "😀 be", "水\x1b", "question")

POEM = "The fog comes\non little cat feet.\nIt sits looking\nover harbor and city\n" * 40


def open_page(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(NAVIGATION, default_timeout=60).switch_page(f"../pages/{name}.py")
    for parameter, value in query.items():
        app.query_params[parameter] = value
    return wait(app)


def wait(app: AppTest) -> AppTest:
    """Run the page until no new job appears that it waits for."""
    before = None
    while before != list(jobs._jobs):
        before = list(jobs._jobs)
        app.run()
        assert not app.exception
        wait_for_jobs()
    return app


@pytest.fixture(autouse=True)
def labels_of_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let select boxes send what a browser sends: its current label, which only `set_value` replaces.

    Streamlit's AppTest looks up the label of the session's value instead, so it never sends an old one.
    """
    held: dict[str, str] = {}

    def state_of(box: Selectbox) -> WidgetState:
        if not isinstance(box._value, InitialValue):  # chosen by the test
            held[box.id] = box.format_func(box._value)
        elif box.proto.set_value:
            held[box.id] = box.proto.raw_value
        elif box.id not in held and box.proto.options:
            held[box.id] = box.proto.options[box.proto.default]
        return WidgetState(id=box.id, string_value=held.get(box.id))

    monkeypatch.setattr(Selectbox, "_widget_state", property(state_of))


@pytest.fixture
def views(finished_run) -> list[str]:
    return list(sections_of(open_model(finished_run.id).model))


def test_no_sequence_of_prompts_breaks_a_view_of_look_inside(finished_run, views):
    app = open_page("look_inside")
    assert {"Attention", "Predictions", "Patching", "Embeddings", "Neurons"} <= set(views)
    for view in views:
        app.segmented_control(key="inspect_view").set_value(view).run()
        for prompt in PROMPTS if view not in ("Heads", "Health", "Losses") else ():
            app.text_input(key="inspect_prompt").set_value(prompt).run()
            assert not app.exception


def test_the_chosen_query_and_key_show_the_characters_of_a_new_prompt(finished_run):
    app = open_page("look_inside", view="Attention")
    app.text_input(key="inspect_prompt").set_value("To be, or not").run()
    app.selectbox(key="cell_query").set_value(10)
    app.selectbox(key="cell_key").set_value(2).run()
    for prompt in ("or not to be, to", "that is", "that if", "question"):  # longer, shorter, equally long, longer
        app.text_input(key="inspect_prompt").set_value(prompt).run()
        assert not app.exception
        for key in ("cell_query", "cell_key"):
            box = app.selectbox(key=key)
            assert box.proto.raw_value == f"{box.value + 1}: '{prompt[box.value].replace(' ', '·')}'"
    assert app.selectbox(key="cell_key").value == 2  # all of them have a third character


def test_a_query_that_was_not_chosen_stays_at_the_end_of_the_prompt(finished_run):
    app = open_page("look_inside", view="Attention")
    for prompt in ("a", "that is", "or not to be"):
        app.text_input(key="inspect_prompt").set_value(prompt).run()
        assert app.selectbox(key="cell_query").value == len(prompt) - 1


def type_prompts(app: AppTest, boxes: list[str]) -> None:
    for key in boxes:
        for prompt in PROMPTS:
            app.text_input(key=key).set_value(prompt[:10]).run()
            assert not app.exception


@pytest.mark.parametrize("lesson, step", [("bigram", "numbers"), ("gpt", "averaging"), ("gpt", "attention")])
def test_no_sequence_of_prompts_breaks_a_lesson(explorer_home, lesson, step):
    text = save_text(POEM, "Fog", explorer_home)
    app = open_page("learn", lesson=lesson, step=step, set=f"text:{text.name}")
    typed = [box.key for box in app.text_input if box.key.startswith("lesson-")]
    assert typed
    type_prompts(app, typed)


def test_changing_the_text_does_not_break_a_lesson_that_offers_its_letters(explorer_home):
    texts = [save_text(text, "Text", explorer_home).name for text in (POEM, POEM.upper(), POEM[::-1])]
    for step in ("loss", "gradient"):
        app = open_page("learn", lesson="bigram", step=step, set=f"text:{texts[0]}")
        for text in (*texts[1:], texts[0]):
            wait(app).selectbox(key="lesson-text").set_value(text)
            for box in app.selectbox:
                if box.key.startswith(f"lesson-bigram-{step}"):
                    box.select_index(len(box.options) - 1)


def test_no_sequence_of_texts_and_inputs_breaks_the_data_page(explorer_home):
    texts = [save_text(text, "Text", explorer_home).name for text in (POEM, POEM.upper())]
    app = open_page("data")
    for text in (*texts, texts[0]):
        app.selectbox(key="corpus").set_value(text)
        type_prompts(wait(app), ["encode_text"])
        app.button(key="draw_batch").click().run()
    app.button(key="delete_text").click().run()
    assert not app.exception


def test_no_sequence_of_runs_and_prompts_breaks_the_generate_page(add_run):
    runs = [add_run("first"), add_run("second")]
    app = open_page("generate")
    for run in (*runs, runs[0]):
        app.selectbox(key="inspect_run").set_value(run.id).run()
        run.rename(f"{run.name} again")
        for prompt in PROMPTS:
            app.text_area(key="generate_prompt").set_value(prompt).run()
            assert not app.exception
        app.button(key="generate_go").click().run()
        assert not app.exception


@pytest.mark.parametrize("name", ["data", "train", "learn", "play", "look_inside", "generate", "runs"])
def test_two_texts_or_runs_with_the_same_name_can_both_be_chosen(explorer_home, add_run, name):
    for text in (POEM, POEM * 2):
        save_text(text, "Poem", explorer_home)
    for _time in range(2):
        add_run("poem")
    boxes = open_page(name, lesson="break", step="mask").selectbox
    for box in boxes:
        assert len(set(box.options)) == len(box.options)
    assert any(label.endswith(" (2)") or "(2) " in label for box in boxes for label in box.options)


def test_no_sequence_of_presets_and_shapes_breaks_the_training_form(explorer_home):
    app = open_page("train")
    for name in ("bigram", "gpt-tiny"):
        app.radio(key="preset").set_value(name).run()
        assert not app.exception
        for path, value in (("model.n_head", 3), ("model.n_embd", 96)):
            sliders = {slider.key: slider for slider in (*app.slider, *app.select_slider)}
            if (slider := sliders.get(f"set-{path}")) is not None:
                slider.set_value(value).run()
                assert not app.exception


def widgets_of(app: AppTest) -> list:
    return [*app.number_input, *app.slider, *app.select_slider, *app.selectbox, *app.toggle]


@pytest.mark.parametrize(
    ("preset", "moved"),
    [
        ("gpt-tiny", {}),
        ("gpt-quick", {"model.n_layer": 1, "train.steps": 150, "model.n_embd": 96, "train.warmup_steps": 16}),
    ],
)
def test_a_run_starts_with_settings_changed_just_before_the_click(explorer_home, preset, moved):
    """On a busy machine one request can contain both the change and the click."""
    app = open_page("train")
    app.slider(key="set-model.n_layer").set_value(1).run()
    app.selectbox(key="corpus").set_value("python")
    app.radio(key="preset").set_value(preset)
    for path, value in moved.items():
        next(each for each in widgets_of(app) if each.key == f"set-{path}").set_value(value)
    app.button(key="train_start").click().run()
    assert not app.exception
    (run,) = list_runs(explorer_home)
    config = PRESETS[preset]().replace({"data.corpus": "python", **moved})
    assert run.record().config == config


def test_a_schedule_is_fitted_to_steps_changed_just_before_the_click(explorer_home):
    app = open_page("train", preset="gpt-tiny", set="train.steps:100")
    app.select_slider(key="set-train.steps").set_value(200)
    app.button(key="fit_schedule").click().run()
    assert not app.exception and "train.steps:200;train.warmup_steps:20" in "".join(app.query_params["set"])
