"""The input of every view of Look inside: one model at one training step and the prompt; and how they are chosen."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from core.config import ModelConfig
from core.errors import ExplorerError
from core.formatting import head_name, whole_number
from core.interpretability.residual_stream import next_token_logits
from core.model import GPT, Bigram
from core.runs.folder import RunFolder
from core.runs.weights import steps_with_weights
from core.text.token_display import quoted, visible
from core.text.tokenizers import Tokenizer
from explorer.components.time_machine import TimeMachineState, time_bar
from explorer.i18n.language import _, in_units
from explorer.services import shared
from explorer.services.shared import Opened, is_large, result_for
from explorer.streaming.generation import LONGEST_PROMPT
from explorer.streaming.jsonl_tail import even_indices
from explorer.widgets import address, session
from explorer.widgets.forms import distinct_labels
from explorer.widgets.invalid_links import end_absent, quoted_part, report_misread_number
from explorer.widgets.layout import literal, show_error
from explorer.widgets.prompt import Prompt
from explorer.widgets.run_picker import run_problem, runs_to_pick, step_line
from explorer.widgets.run_rows import run_bytes_per_token

LAYER, HEAD = "inspect_layer", "inspect_head"
MAX_OFFERED = 100  # tokens in a select; 50,257 would be megabytes
_FOLLOWED = "head_followed"  # the head of the address that was last shown
_HEAD_PART = re.compile(r"head-(\d{1,4}\.\d{1,4})")
_CHOSEN = "head_chosen"  # the head last chosen in any view, if any


@dataclass(frozen=True)
class Inspection:
    """One model at one training step. The model is shared by all sessions: never change it."""

    folder: RunFolder
    opened: Opened
    prompt: Prompt
    time_machine: TimeMachineState  # moves the views that follow the time machine

    @property
    def model(self) -> GPT | Bigram:
        return self.opened.model

    @property
    def config(self) -> ModelConfig:
        return self.opened.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        return self.opened.tokenizer

    @property
    def large(self) -> bool:
        """Whether one pass through the model is so slow that views compute less at once and start only on a click."""
        return is_large(self.model)

    @property
    def key(self) -> tuple[str, int, int]:
        """The identity of these weights in caches."""
        return self.opened.record.id, self.opened.step, self.opened.saved


def open_snapshot(folder: RunFolder) -> Opened:
    """Return the model at the step in the address, or at the snapshot before it; by default at the newest."""
    report_misread_number(address.STEP, range(10**9), _("This is the newest step."))
    wanted = address.number_parameter(address.STEP)
    before = [step for step in steps_with_weights(folder) if wanted is not None and step <= wanted]
    wanted = before[-1] if before else None
    try:
        return shared.open_model(folder.id, wanted)
    except ExplorerError as error:
        show_error(error)
        if steps := [step for step, _path in folder.snapshots() if step != wanted]:
            label = _("Show step {step}", step=f"{steps[-1]:,}")
            st.button(label, key="show_snapshot", on_click=address.write, args=({address.STEP: steps[-1]},))
        st.stop()


def time_machine_state(folder: RunFolder, opened: Opened, prompt: str) -> TimeMachineState:
    """Return the state that the bar and the views of the time machine share."""
    steps = steps_with_weights(folder) or [opened.step]
    prompt = prompt[-LONGEST_PROMPT:]  # frames read less of it anyway
    return TimeMachineState("a", folder.id, prompt, steps, opened.step, _anchor(folder, steps), head_of(opened.model))


def choose_snapshot(folder: RunFolder, opened: Opened, state: TimeMachineState) -> None:
    """Draw the slider over all training steps; a run with one snapshot, such as an imported one, has no slider."""
    if len(steps_with_weights(folder)) < 2:
        return step_line(folder, opened.step)
    note = _("shown on the left") if address.parameter(address.OTHER_RUN) else _("shown in every chart")
    with st.container(border=True, key="time_step"):
        size = run_bytes_per_token(folder)
        moved = time_bar(state, steps=folder.status().steps, note=note, key="time_bar", bytes_per_token=size)
    wanted = address.number_parameter(address.STEP)
    if wanted is not None and wanted != opened.step:
        steps = {"asked": f"{wanted:,}", "step": f"{opened.step:,}"}
        st.caption(_("Step {asked} has no snapshot: this is step {step}, the nearest before it.", **steps))
    if moved:
        step, newest = moved
        address.write({address.STEP: None if newest else step})
        st.rerun()


def choose_other(state: TimeMachineState) -> TimeMachineState | None:
    """Draw the select for a comparison, with another step of this run or another run, and its slider."""
    other_run = address.parameter(address.OTHER_RUN)
    runs = runs_to_pick(other_run, state.run)
    if other_run and other_run not in runs:
        end_absent(run_problem(other_run), _("Compare with nothing"), _compare)
    st.session_state["compare_with"] = other_run
    others = {id: folder.name for id, folder in runs.items() if id != state.run}
    labels = distinct_labels(others | {state.run: _("another step of this run")})
    look = {"placeholder": _("Compare with …"), "label_visibility": "collapsed", "width": 320}
    keep = {"key": "compare_with", "on_change": lambda: _compare(st.session_state["compare_with"])}
    chosen = st.selectbox(_("Compare with"), [state.run, *others], index=None, format_func=labels.get, **look, **keep)
    if chosen is None:
        return None
    folder, same = runs[chosen], chosen == state.run
    steps, wanted = steps_with_weights(folder), address.number_parameter(address.OTHER_STEP)
    step = wanted if wanted in steps else steps[0] if same else steps[-1]
    report_misread_number(address.OTHER_STEP, steps, _("On the right is step {step}.", step=f"{step:,}"))
    other = replace(
        state, side="b", run=chosen, saved_steps=steps, step=step, anchor=_anchor(folder, steps), emergence_steps=()
    )
    name = _("the same run") if same else folder.name
    if len(steps) < 2:
        st.caption(_("On the right: {name} at step {step}.", name=literal(name), step=f"{step:,}"))
        return other
    with st.container(border=True, key="time_step_beside"):
        note = _("shown on the right: {name}", name=name)
        about = {"steps": folder.status().steps, "note": note, "bytes_per_token": run_bytes_per_token(folder)}
        moved = time_bar(other, key="time_bar_beside", same=same, **about)
    if moved:
        _compare(chosen, moved[0])
    return other


def _compare(run_id: str | None = None, step: int | None = None) -> None:
    address.write({address.OTHER_RUN: run_id, address.OTHER_STEP: step})


def _anchor(folder: RunFolder, steps: list[int]) -> int:
    """Return the step to whose embedding map all others are aligned; it rarely changes while a run trains."""
    name = f"anchor-{folder.id}"
    anchor = session.recall(name)
    if anchor not in steps or folder.status().ended or steps[-1] > 2 * anchor:
        anchor = steps[-1]
        session.remember(name, anchor)
    return anchor


def warn_of_columns(model: GPT | Bigram) -> None:
    """Warn if the softmax runs over the wrong axis, so that a row of attention weights does not add up to 1."""
    if model.config.softmax_over == "queries":
        words = _(
            "This model takes its softmax over the queries, so its attention weights add up to 100% down each "
            "column, not along each row. The percentages below are these weights."
        )
        st.warning(words, icon=":material/warning:")


def choose_head(inspection: Inspection) -> tuple[int, int]:
    """Draw the selects for layer and head, which all views share; return both counted from 0."""
    config = inspection.config
    layers = [_("layer {layer}", layer=number) for number in range(1, config.n_layer + 1)]
    heads = [_("head {head}", head=number) for number in range(1, config.n_head + 1)]
    layer, head = (
        select(
            label, range(len(names)), key=key, default=0, format_func=names.__getitem__, label_visibility="collapsed",
            width=130, on_change=lambda: write_head(st.session_state[LAYER], st.session_state[HEAD]),
        )
        for label, names, key in ((_("Layer"), layers, LAYER), (_("Head"), heads, HEAD))
    )  # fmt: skip
    return layer, head


def head_of(model: GPT | Bigram) -> tuple[int, int]:
    """Return the layer and head last chosen in any view, counted from 0; both are 0 for a bigram."""
    if not isinstance(model, GPT):
        return 0, 0
    return within(LAYER, model.config.n_layer), within(HEAD, model.config.n_head)


def follow_head(model: GPT | Bigram) -> None:
    """Show the head in the address if it has changed; report an error if the model has no such head.

    The address has `head=1.2`, or the opened part of the model picture, `part=head-1.2@3`.
    """
    opened = _HEAD_PART.match(address.parameter(address.PART) or "")
    wanted = address.parameter(address.HEAD) or (opened and opened[1])
    if not isinstance(model, GPT) or wanted is None:
        return
    place = wanted.split(".")
    layer, head = [(whole_number(part) or 0) - 1 for part in place] if len(place) == 2 else (-1, -1)
    if not (0 <= layer < model.config.n_layer and 0 <= head < model.config.n_head):
        if not address.parameter(address.HEAD):
            return  # the model picture reports the missing part
        shown = ".".join(str(number + 1) for number in head_of(model))
        show_error(_("This model has no head {head}: here is head {shown}.", head=quoted_part(wanted), shown=shown))
    elif session.recall(_FOLLOWED) != wanted:
        session.remember(_FOLLOWED, wanted)
        keep_head(layer, head)


def keep_head(layer: int, head: int) -> None:
    """Choose a head for all views without changing the address."""
    st.session_state[LAYER], st.session_state[HEAD] = layer, head
    session.remember(_CHOSEN, (layer, head))


def chosen_head(model: GPT | Bigram) -> tuple[int, int] | None:
    """Return the layer and head chosen in any view, counted from 0; None if none was, or if this model lacks it."""
    chosen = session.recall(_CHOSEN)
    return chosen if chosen and chosen == head_of(model) else None


def write_head(layer: int, head: int) -> None:
    """Choose a head and write it to the address."""
    keep_head(layer, head)
    session.remember(_FOLLOWED, head_name(layer, head))
    address.write({address.HEAD: head_name(layer, head)})


def open_head(layer: int, head: int) -> None:
    """Choose another head and rerun the page."""
    write_head(layer, head)
    st.rerun()


def evenly(items: Sequence[Any], most: int) -> Sequence[Any]:
    """Return at most `most` items, evenly spaced, including the first and the last."""
    return [items[index] for index in even_indices(len(items), most)]


def within(key: str, count: int, default: int = 0) -> int:
    """Return a widget's value from 0 to `count` - 1: another run may have fewer layers, heads or tokens."""
    return session.fit_choice(key, range(count), default)


def select(
    label: str, options: Sequence[Any], *, key: str, default: Any, format_func: Callable[[Any], str], **more: Any
) -> Any:
    """Draw a select box whose options or labels depend on another input, and return the chosen option."""
    # Send the value on every rerun: the browser stores labels, so after an option's label changes it would keep showing
    # the old one and send that back.
    st.session_state[key] = session.fit_choice(key, options, default)
    return st.selectbox(label, options, key=key, format_func=format_func, **more)


def most_likely(scores: np.ndarray, count: int = MAX_OFFERED) -> list[int]:
    """Return the ids of the tokens with the highest logits or probabilities (V,), best first."""
    return np.argsort(-scores, kind="stable")[:count].tolist()


def likely_next(model: GPT | Bigram, ids: list[int]) -> list[int]:
    """Return the ids of the most likely next tokens, best first."""
    return result_for(model, ("next", *ids), lambda: most_likely(next_token_logits(model, ids)))


def choose_token(
    label: str, key: str, offered: Sequence[int], inspection: Inspection, *, default: int, prompt: Sequence[int]
) -> int:
    """Draw a select of the default and the offered tokens; return the chosen id, reset when the prompt changes."""
    shown_for, last_default = session.recall(f"{key}_for", (None, None))
    if shown_for != tuple(prompt) or session.recall(key) == last_default == st.session_state.get(key):
        session.remember(key, None)
        st.session_state.pop(key, None)
    session.remember(f"{key}_for", (tuple(prompt), default))
    offered = offered if default in offered else [default, *offered]
    names = names_of(inspection.tokenizer, offered)
    return select(in_units(label), offered, key=key, default=default, format_func=names.__getitem__)


def names_of(tokenizer: Tokenizer, offered: Sequence[int]) -> dict[int, str]:
    """Return the names of the offered tokens for a select: in quotes, with the id if another token looks the same."""
    quotes = [quoted(visible(tokenizer.tokens[id])) for id in offered]
    counts = Counter(quotes)
    return {id: f"{name} · {id}" if counts[name] > 1 else name for id, name in zip(offered, quotes, strict=True)}
