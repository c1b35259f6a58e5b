"""The class's scaling law: sizes handed out to students, the law of their runs, and the next size's prediction."""

import streamlit as st

from core.classroom import Classroom, ClassSettings
from core.config import RunConfig
from core.errors import ExplorerError
from core.runs.class_sizes import (
    Size,
    SizedRun,
    config_of_size,
    hand_out_sizes,
    parse_size,
    size_of_member,
    sized_runs,
)
from core.runs.folder import open_run
from core.runs.weights import vocab_size_of
from core.training.scaling_law import ScalingLaw, fit_scaling_law
from core.training.work import exact_parameters
from explorer.charts.scaling_law import Point, scaling_figure
from explorer.i18n.language import _, ngettext
from explorer.services.visitors import served_class, visitor
from explorer.widgets import address
from explorer.widgets.drafts import keep_draft
from explorer.widgets.forms import forget_inputs, text_labels
from explorer.widgets.layout import card, chart, current_palette, errors_shown, literal
from explorer.widgets.session import notifying

_LOOK_AGAIN = 5.0  # seconds
_FIRST = "1x16, 1x32, 2x48, 2x64, 3x96"
_SIZES, _TEXT, _STEPS, _NEXT = "sizes_wanted", "sizes_text", "sizes_steps", "sizes_next"


def draw_own_size() -> None:
    """Draw the student's assigned size on Train, with a button that makes it the draft."""
    if (classroom := served_class()) is None or visitor().is_teacher:
        return
    if config := size_of_member(classroom, visitor().member):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key="own_size"):
            layers = ngettext("{count} layer", "{count} layers", config.model.n_layer)
            size = _("Your size: {layers}, {width} wide", layers=layers, width=config.model.n_embd)
            steps = ngettext(
                "{count} step, for the scaling law of the class.",
                "{count} steps, for the scaling law of the class.",
                config.train.steps,
            )
            st.markdown(f"**{literal(size)}**  \n{literal(steps)}", width="content")
            st.button(_("Take these settings"), key="own_size_take", on_click=_take, args=(config,))


def _take(config: RunConfig) -> None:
    forget_inputs()
    st.session_state["preset"], st.session_state["corpus"] = config.preset, config.data.corpus
    keep_draft(config)


def draw_sizes(classroom: Classroom) -> None:
    """Draw the class's scaling law; for its teacher also the form that hands out sizes, and the next prediction."""
    is_teacher = visitor().is_teacher
    if not is_teacher and not classroom.settings.sizes:
        return
    note = _("Each student trains one size on the same text. How does the loss fall as models grow?")
    with card(_("Scaling law of the class"), note, key="sizes"):
        if is_teacher:
            _draw_form(classroom)
        st.fragment(_draw_law, run_every=_LOOK_AGAIN)(classroom)


def _draw_form(classroom: Classroom) -> None:
    now = classroom.settings
    texts = text_labels()
    for key, value in ((_SIZES, ", ".join(now.sizes) or _FIRST), (_TEXT, now.sizes_text), (_STEPS, now.sizes_steps)):
        st.session_state.setdefault(key, value)
    if st.session_state[_TEXT] not in texts:
        st.session_state[_TEXT] = next(iter(texts))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        about = _("Layers x width, smallest first. Students get one each, in the order in which they joined.")
        st.text_input(_("Sizes"), key=_SIZES, max_chars=150, help=about, width=300)
        st.selectbox(_("Text"), list(texts), key=_TEXT, format_func=texts.get, width=240)
        st.number_input(_("Steps"), 20, 20_000, step=50, key=_STEPS, width=130)
        label = _("Hand out sizes again") if now.sizes else _("Hand out sizes")
        st.button(label, key="sizes_hand_out", on_click=_hand_out, args=(classroom,))
        if now.sizes:
            take_back = {"on_click": notifying()(classroom.change), "kwargs": {"sizes": []}}
            st.button(_("Take back"), key="sizes_take_back", type="tertiary", **take_back)


@notifying()
def _hand_out(classroom: Classroom) -> None:
    chosen = st.session_state
    hand_out_sizes(classroom, chosen[_SIZES], chosen[_TEXT], chosen[_STEPS])


def _draw_law(classroom: Classroom) -> None:
    now = classroom.settings
    if not now.sizes:
        st.caption(_("No sizes are handed out yet."))
        return
    runs = sized_runs(classroom)
    counted = [run for run in runs if run.is_handed_out]
    sizes = {"sizes": len({run.size for run in counted}), "all": len(now.sizes)}
    st.caption(_("Runs done: {count}. Different sizes: {sizes} of {all}.", count=len(counted), **sizes))
    if not counted:
        return
    law, problem = None, ""
    try:
        law = fit_scaling_law([run.parameters for run in counted], [run.loss for run in counted])
    except ExplorerError as error:
        problem = str(error)
    next_size, parameters = _next_size(classroom, now, counted) if law and visitor().is_teacher else (None, None)
    if law:
        exponent = law.exponent_interval()
        values = {"floor": f"{law.floor:.2f}", "alpha": f"{exponent.value:.2f}"}
        bounds = {"low": f"{exponent.low:.2f}", "high": f"{exponent.high:.2f}"}
        st.markdown(_("Fitted: loss = {floor} + A · N^−{alpha}. The exponent is between {low} and {high} (90%).",
                      **values, **bounds).replace("^", "\\^"))  # fmt: skip
    else:
        st.info(literal(problem))
    if law and next_size and parameters:
        _draw_prediction(law, now, next_size, parameters)
    others = [run for run in runs if not run.is_handed_out]
    figure = scaling_figure(_points(counted), _points(others), law, parameters, current_palette())
    alt = _("Validation loss over parameters of the class's runs, with the fitted law.")
    chart(figure, key="sizes_chart", numbers=lambda: _numbers(runs), name="scaling-law", alt=alt)
    _draw_misses(law, others)


def _next_size(classroom: Classroom, now: ClassSettings, runs: list[SizedRun]) -> tuple[Size | None, int | None]:
    largest = max(runs, key=lambda run: run.parameters)
    st.session_state.setdefault(_NEXT, str(Size(largest.size.layers + 1, largest.size.width * 3 // 2 // 8 * 8)))
    st.text_input(_("Next size"), key=_NEXT, max_chars=12, width=140)
    with errors_shown():
        size = parse_size(st.session_state[_NEXT])
        vocab_size = vocab_size_of(open_run(classroom.root, largest.run))
        return size, exact_parameters(config_of_size(now, size).model, vocab_size)
    return None, None


def _draw_prediction(law: ScalingLaw, now: ClassSettings, size: Size, parameters: int) -> None:
    loss = law.predict(parameters)
    values = {"parameters": f"{parameters:,}", "loss": f"{loss.value:.3f}"}
    bounds = {"low": f"{loss.low:.3f}", "high": f"{loss.high:.3f}"}
    words = _("Predicted for {size} (N = {parameters}): **{loss}**, with 90% between {low} and {high}.",
              size=str(size), **values, **bounds)  # fmt: skip
    st.markdown(words)
    query = address.address_of(config_of_size(now, size))
    st.page_link(
        address.page_file("train"), label=_("Train this size"), icon=":material/play_arrow:", query_params=query
    )


def _draw_misses(law: ScalingLaw | None, others: list[SizedRun]) -> None:
    for run in others if law else []:
        loss = law.predict(run.parameters)
        numbers = {
            "size": str(run.size),
            "loss": f"{run.loss:.3f}",
            "low": f"{loss.low:.3f}",
            "high": f"{loss.high:.3f}",
        }
        if loss.low <= run.loss <= loss.high:
            words = _("{size} ended at {loss}: within the predicted {low} to {high}.", **numbers)
        else:
            words = _("{size} ended at {loss}: outside of the predicted {low} to {high}.", **numbers)
        st.markdown(literal(words))


def _points(runs: list[SizedRun]) -> list[Point]:
    return [(run.parameters, run.loss, str(run.size)) for run in runs]


def _numbers(runs: list[SizedRun]) -> dict[str, list]:
    return {
        _("Size"): [str(run.size) for run in runs],
        _("Parameters"): [run.parameters for run in runs],
        _("Validation loss (nats/token)"): [run.loss for run in runs],
    }
