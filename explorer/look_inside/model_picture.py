"""How does a text become the next token? The whole model on one prompt, in one picture.

It draws the activations of every part, and what each adds to the logits; a part opens in place (`opened_part`).
"""

import math
import random
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st
import torch

from core.config import TrainConfig
from core.errors import ExplorerError
from core.interpretability.ablation import Part
from core.interpretability.attention import to_bytes
from core.interpretability.forward_pass import SourceAttribution, forward_pass
from core.interpretability.training_step import MatrixUpdate, TrainingStep, training_step
from core.model import GPT, Bigram
from core.model.gpt import feed_forward_width
from core.sampling import sample_token
from core.sampling_config import GenerationConfig
from core.text.token_display import KINDS, kind_of, visible
from core.text.tokenizers import Tokenizer, token_texts
from explorer.components.time_machine import time_machine_view
from explorer.i18n.language import N_, _
from explorer.look_inside.ablation import draw_head_buttons, draw_head_effect
from explorer.look_inside.heads import roles_over_time
from explorer.look_inside.inspection import Inspection, keep_head, most_likely
from explorer.look_inside.opened_part import MAX_ROWS, open_part, read_place, softmax, strips
from explorer.widgets import address, session
from explorer.widgets.invalid_links import end_absent
from explorer.widgets.layout import card
from explorer.widgets.prompt import as_line

if TYPE_CHECKING:
    from explorer.look_inside.frames import Snapshot

LIKELY = 7  # next tokens
HOTTEST = 5  # temperature
_KEY, _OPENED = "model_picture", "part_opened"  # the component, and the session key of its last report
_HELP = N_(
    "From left to right: tokens, **embedding**, blocks of **attention** and **MLP**, next tokens. The line is the "
    "chosen token's **residual stream**: every part reads it and adds to it."
)


class PictureRequest(NamedTuple):
    """The options of a frame's picture of the whole model."""

    place: str = ""  # as in the address
    temperature: float = 1.0  # at which the next token is sampled
    seed: int = 0
    rows: int = MAX_ROWS  # how many of the prompt's last tokens are drawn


def draw_picture(snapshot: "Snapshot", request: PictureRequest) -> dict[str, Any]:
    """Return the picture of one snapshot as plain values, or one part of it if `request.place` opens one."""
    place = read_place(request.place, snapshot.model, len(snapshot.ids))
    whole = forward_pass(snapshot.model, snapshot.ids, contributions=place.part in ("", "step"))
    rows = slice(-request.rows, None)
    drawn = {
        "first": max(0, len(snapshot.ids) - request.rows),  # tokens of the prompt before the first one drawn
        "kind": "gpt" if isinstance(snapshot.model, GPT) else "bigram",
        "shape": _shape(snapshot.model),
        "next": [top_tokens(snapshot.tokenizer, softmax(logits)) for logits in whole.logits[rows]],
        "sample": _sample(snapshot, whole.logits[-1], request),
        "kinds": _kinds_in(snapshot.tokenizer.tokens),
    }
    if place.part == "step":
        config = snapshot.folder.record().config.train
        drawn["training"] = _training(training_step(snapshot.model, snapshot.ids, config), config, rows)
    elif place.part:
        return drawn | {"opened": open_part(snapshot, whole, place)}
    patterns = whole.patterns[..., rows, rows]
    return drawn | {
        "embedding": strips(whole.embedding[rows]),
        "patterns": b64encode(to_bytes(patterns).tobytes()).decode("ascii"),
        "neurons": [strips(values[rows]) for values in whole.neurons if values.size],
        "norms": np.round(whole.norms[:, rows], 3).tolist(),
        "contributions": _contributions(whole.contributions, rows) if whole.contributions else None,
    }


def _shape(model: GPT | Bigram) -> dict[str, Any]:
    """Return the sizes that determine how a model is drawn."""
    config = model.config
    if not isinstance(model, GPT):
        return {"layers": 0, "heads": 0, "width": model.vocab_size, "neurons": 0, "vocabulary": model.vocab_size}
    return {
        "layers": config.n_layer,
        "heads": config.n_head,
        "width": config.n_embd,
        "neurons": feed_forward_width(config) if config.feed_forward else 0,
        "vocabulary": model.vocab_size,
        "residual": config.residual,
    }


def top_tokens(tokenizer: Tokenizer, probabilities: np.ndarray, count: int = LIKELY) -> list[tuple[str, str, float]]:
    """Return the top next tokens by their probabilities (V,), best first."""
    return [_token(tokenizer, id, probabilities[id]) for id in most_likely(probabilities, count)]


@lru_cache(maxsize=8)
def _kinds_in(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Return the kinds of a whole vocabulary: a legend of those on view alone would change with every token."""
    known = {*map(kind_of, tokens)}
    return tuple(kind for kind in KINDS if kind in known)


def _token(tokenizer: Tokenizer, id: int, share: float) -> tuple[str, str, float]:
    """Return a token as displayed, its kind, and its probability."""
    return visible(tokenizer.tokens[id]), kind_of(tokenizer.tokens[id]), round(float(share), 5)


def _sample(snapshot: "Snapshot", logits: np.ndarray, request: PictureRequest) -> dict[str, Any]:
    """Return the next token, as `core.sampling.generate` samples its first, and the top tokens at this temperature."""
    settings = GenerationConfig(temperature=request.temperature, seed=request.seed)
    sampled = sample_token(torch.from_numpy(logits), settings, random.Random(settings.seed).random())
    shares = softmax(logits, request.temperature)
    [text] = token_texts(snapshot.tokenizer, [sampled])
    return {
        "token": _token(snapshot.tokenizer, sampled, shares[sampled]),
        "typed": as_line(text, snapshot.tokenizer.tokens),  # to be appended to the prompt
        "shares": top_tokens(snapshot.tokenizer, shares),
        "temperature": request.temperature,
    }


def _contributions(of: SourceAttribution, rows: slice) -> dict[str, Any]:
    heads = of.heads[:, :, rows, :]
    sources = heads[..., rows]
    most = float(np.abs(sources).max()) if sources.size else 1.0
    scaled = np.rint(sources / (most or 1.0) * 127).astype(np.int8)

    def numbers(values: np.ndarray) -> list:
        return np.round(values[..., rows], 4).tolist()

    return {
        "embedding": numbers(of.embedding + of.position + of.shift),
        "attention": np.round(heads.sum(axis=(1, 3)), 4).tolist(),  # (L, T), of all heads
        "mlps": numbers(of.mlps),
        "rest": numbers(of.biases + of.pairs),
        "total": numbers(of.total),
        "sources": b64encode(scaled.tobytes()).decode("ascii"),
        "most": most or 1.0,
    }


def _training(step: TrainingStep, config: TrainConfig, rows: slice) -> dict[str, Any]:
    """Return a training step as plain values: losses, gradients in the stream, and updates by part."""
    parts: dict[str, list[MatrixUpdate]] = defaultdict(list)
    for name, update in step.updates.items():
        names = name.removeprefix("transformer.").split(".")
        inner = names[0] == "h"  # the parameters of a norm count toward the part after it
        kind = {"attn": "attention", "ln_1": "attention", "mlp": "mlp", "ln_2": "mlp"}[names[2]] if inner else ""
        outer = "output" if names[0] in ("lm_head", "ln_f", "bigram") else "embedding"
        parts[f"{kind}-{int(names[1]) + 1}" if inner else outer].append(update)
    return {
        "before": round(step.before, 4),
        "after": round(step.after, 4),
        "losses": [*np.round(step.losses, 3).tolist(), None][rows],
        "stream": step.stream[:, rows].astype(float).tolist(),
        "ratios": {name: _ratio(updates) for name, updates in parts.items()},
        "optimizer": {"adamw": "AdamW", "muon": "Muon"}.get(config.optimizer, config.optimizer),
    }


def _ratio(updates: list[MatrixUpdate]) -> float:
    """Return the update-to-weight ratio of several matrices together."""
    moved, weights = (math.hypot(*values) for values in zip(*((u.update, u.weights) for u in updates), strict=True))
    return moved / weights if weights else 0.0


def draw(inspection: Inspection) -> None:
    """Draw the picture, and write its opened part to the address."""
    try:
        place = read_place(address.parameter(address.PART) or "", inspection.model, len(inspection.prompt.ids))
    except ExplorerError as error:
        end_absent(error, _("Show the whole model"), lambda: address.write({address.PART: None}))
    head = Part("head", place.layer, place.head) if place.part == "head" else None
    if head:
        keep_head(place.layer, place.head)
    buttons = partial(draw_head_buttons, inspection, head) if head else None
    with card(_("The whole model"), more=_(_HELP), key="card_model", corner=buttons):
        above = st.container() if head else None
        roles = roles_over_time(inspection) if head else None
        time_machine_view("model", inspection.time_machine, key=_KEY, on_place=_write_place, roles=roles)
        if head and above:  # last, so that the picture stays while the effect is computed
            with above:
                draw_head_effect(inspection, head)
    # Called before the page runs (`on_place`), because the time bar may rerun the page, and here, because Streamlit
    # calls nothing for a component that the previous run did not draw.
    if _write_place():
        st.rerun()


def _write_place() -> bool:
    """Write a newly opened part to the address; return whether there was one."""
    opened = (st.session_state.get(_KEY) or {}).get("place")
    if not isinstance(opened, Mapping) or opened == session.recall(_OPENED):
        return False
    session.remember(_OPENED, dict(opened))
    address.write({address.PART: str(opened.get("place") or "") or None})
    return True
