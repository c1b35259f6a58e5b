"""One opened part of the model picture: its tensors, formula and code, and the arithmetic of one number.

A place in the picture is written as in the address: "" for all of it, "head-1.2@18.12" for head 2 of layer 1 with
token 18 as the query and token 12 as the key. All count from 1.
"""

import inspect
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from core.errors import ExplorerError
from core.formatting import decimal, head_name, power_of_e
from core.interpretability.activations import PromptError, run_with_cache
from core.interpretability.attention import attention_weight_steps, to_bytes
from core.interpretability.forward_pass import ForwardPass
from core.interpretability.neurons import neuron_steps
from core.lessons.sampling_steps import softmax_with_temperature
from core.model import GPT, Bigram
from core.model.gpt import MLP, MixtureOfExperts, feed_forward_width
from core.model.layers import GATED
from core.model.self_attention import CausalSelfAttention
from core.text.token_display import quoted, visible
from explorer.charts.text_format import percent
from explorer.components.attention_patterns import Strip, StripStep
from explorer.i18n.language import N_, _, ngettext
from explorer.look_inside.attention_weights import cell_steps

if TYPE_CHECKING:
    from explorer.look_inside.frames import Snapshot

MAX_ROWS = 64  # tokens of a prompt in the picture: a screen cannot show more lines
MAX_CELLS = 64  # of a strip: a longer vector is split into pieces, each shown by its strongest number
_ADDED = ("learned", "sinusoidal")  # position embeddings that are added to the token's
_NONLINEARITIES = {"relu": "ReLU", "gelu": "GELU", "gelu_tanh": "GELU", "swiglu": "SwiGLU", "relu2": "ReLU²"}
_PLACE = re.compile(
    r"(?:(embedding|output|step)|head-(\d{1,4})\.(\d{1,4})|mlp-(\d{1,4}))?(?:@(\d{1,6})(?:\.(\d{1,6}))?)?"
)


class Place(NamedTuple):
    """A part of the picture and what is selected in it; all count from 0."""

    part: str = ""  # "", "embedding", "head", "mlp", "output", or "step" for a training step in the whole picture
    layer: int = 0
    head: int = 0
    token: int | None = None  # of the prompt; None: the last
    cell: int | None = None  # a key, a neuron or a token of the vocabulary; None: the strongest


def read_place(text: str, model: GPT | Bigram, length: int) -> Place:
    """Parse a place in the picture of a model and a prompt of `length` tokens; raises ExplorerError if it is absent."""
    match = _PLACE.fullmatch(text)
    absent = ExplorerError(_("This model has no part {part}.", part=repr(text[:40])))
    if not match:
        raise absent
    plain, layer, head, mlp, token, cell = match.groups()
    place = Place(
        part=plain or (layer and "head") or (mlp and "mlp") or "",
        layer=int(layer or mlp or 1) - 1,
        head=int(head or 1) - 1,
        token=int(token) - 1 if token else None,
        cell=int(cell) - 1 if cell else None,
    )
    if place.token is not None and not 0 <= place.token < length:
        raise ExplorerError(
            _("The prompt has no token {number}: it has {count}.", number=place.token + 1, count=length)
        )
    if place.part in ("head", "mlp"):
        config = model.config
        has = isinstance(model, GPT) and (place.part == "head" or config.feed_forward)
        if not has or not (0 <= place.layer < config.n_layer and 0 <= place.head < config.n_head):
            raise absent
    cells = {"head": length, "output": model.vocab_size, "embedding": 0, "step": 0, "": 0}
    cells["mlp"] = feed_forward_width(model.config) if place.part == "mlp" else 0
    if place.cell is not None and not 0 <= place.cell < cells[place.part]:
        raise absent
    return place


def has_place(text: str, model: GPT | Bigram, length: int) -> bool:
    """Return whether `read_place` accepts a place."""
    try:
        read_place(text, model, length)
    except ExplorerError:
        return False
    return True


def strips(values: np.ndarray) -> dict[str, Any]:
    """Return rows of numbers (T, N) as signed bytes, -127 to 127 for the largest absolute value.

    Longer rows are split into MAX_CELLS pieces, each shown by its number with the largest absolute value.
    """
    size = values.shape[1]
    if size > MAX_CELLS:
        edges = _edges(size)
        highest, lowest = np.maximum.reduceat(values, edges, axis=1), np.minimum.reduceat(values, edges, axis=1)
        values = np.where(highest >= -lowest, highest, lowest)
    most = float(np.abs(values).max()) or 1.0
    scaled = np.rint(values / most * 127).astype(np.int8)
    return {"bytes": b64encode(scaled.tobytes()).decode("ascii"), "size": size, "cells": scaled.shape[1], "most": most}


def _edges(size: int) -> list[int]:
    """Return the start of each piece of a row of `size` numbers."""
    cells = min(size, MAX_CELLS)
    return [cell * size // cells for cell in range(cells)]


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities (V,) float64 of logits (V,); at temperature 0 the top token has probability 1."""
    if not temperature:
        return np.eye(len(logits))[int(logits.argmax())]
    return softmax_with_temperature(torch.from_numpy(np.asarray(logits, np.float64)), temperature).numpy()


def open_part(snapshot: "Snapshot", whole: ForwardPass, place: Place) -> dict[str, Any]:
    """Return a part of the picture as plain values; `whole` is the forward pass of the snapshot's prompt."""
    token = len(snapshot.ids) - 1 if place.token is None else place.token
    model = snapshot.model
    if not isinstance(model, GPT):
        opened = _table_row(snapshot, whole, token)
    else:
        parts = {"embedding": _embedding, "head": _head, "mlp": _mlp, "output": _output}
        opened = parts[place.part](snapshot, whole, place._replace(token=token))
    where = {"part": place.part, "layer": place.layer, "head": place.head, "token": token}
    return where | {"cell": None, "note": ""} | opened | {"steps": [asdict(step) for step in opened["steps"]]}


def _tensor(name: str, values: np.ndarray, shape: str, picked: bool = False) -> dict[str, Any]:
    """Return one tensor of a part, a row of numbers for each token (T, N); `picked`: a click on a number chooses it."""
    last = values[-MAX_ROWS:]
    tensor = {"name": name, "shape": f"({shape}) = ({', '.join(map(str, values.shape))})"} | strips(last)
    if picked:
        starts = [*_edges(values.shape[1]), values.shape[1]]
        ranges = list(pairwise(starts))
        tensor["places"] = [[a + int(np.abs(row[a:b]).argmax()) for a, b in ranges] for row in last]
    return tensor


def _head(snapshot: "Snapshot", whole: ForwardPass, place: Place) -> dict[str, Any]:
    model, ids, (layer, head) = snapshot.model, snapshot.ids, (place.layer, place.head)
    scope = f"blocks.{layer}.attn"
    rotated = model.config.qk_norm or model.config.position == "rope"
    names = [*(("hook_rot_q", "hook_rot_k") if rotated else ("hook_q", "hook_k")), "hook_v", "hook_z"]
    at = run_with_cache(model, ids, [f"{scope}.{name}" for name in names])
    shared = model.config.kv_head_of(head)
    q, k, v, z = (
        at[f"{scope}.{name}"][:, at_head] for name, at_head in zip(names, (head, shared, shared, head), strict=True)
    )
    pattern = whole.patterns[layer, head]
    key = int(pattern[place.token].argmax()) if place.cell is None else place.cell
    shown = [visible(snapshot.tokenizer.tokens[id]) for id in ids]
    try:
        steps = cell_steps(attention_weight_steps(model, ids, layer, head, place.token, key), shown, place.token, key)
        note = ""
    except PromptError as error:
        steps, note = [], str(error)
    share = percent(float(pattern[place.token, key]))
    says = _("{query} attends {share} to {key}.", query=quoted(shown[place.token]), share=share, key=quoted(shown[key]))
    rows = slice(-MAX_ROWS, None)
    gate = " · σ(x·W_g)" if model.config.gated_attention else ""
    return {
        "title": _("Head {place}", place=head_name(layer, head)),
        "says": says,
        "formula": "q = x·W_q   k = x·W_k   v = x·W_v   z = softmax(q·kᵀ / √D + mask)·v" + gate,
        "code": code_of(CausalSelfAttention._explicit, "scores = (q"),
        "pattern": b64encode(to_bytes(pattern[rows, rows]).tobytes()).decode("ascii"),
        "tensors": [_tensor(name, values, "T, D") for name, values in zip("qkvz", (q, k, v, z), strict=True)],
        "cell": key,
        "steps": steps,
        "note": note,
    }


def _mlp(snapshot: "Snapshot", whole: ForwardPass, place: Place) -> dict[str, Any]:
    model, ids, layer, config = snapshot.model, snapshot.ids, place.layer, snapshot.model.config
    scope = f"blocks.{layer}"
    names = (f"{scope}.hook_resid_mid", f"{scope}.mlp.hook_pre", f"{scope}.hook_mlp_out")
    stream, pre, out = run_with_cache(model, ids, names).values()
    post = whole.neurons[layer]
    neuron = int(np.abs(post[place.token]).argmax()) if place.cell is None else place.cell
    worked = neuron_steps(model, ids, layer, neuron, place.token)
    C, value, token = config.n_embd, decimal(worked.after), quoted(visible(snapshot.tokenizer.tokens[ids[place.token]]))
    most = float(np.abs(worked.products).max()) or 1.0
    nonlinearity = _NONLINEARITIES[config.activation]
    before, bias = decimal(worked.before, 3), decimal(worked.bias)  # a digit more, so that the result can be recomputed
    tensors = [("x", stream, "T, C"), (N_("before"), pre, "T, N"), (N_("neurons"), post, "T, N"), ("out", out, "T, C")]
    steps = [
        StripStep(_("Input: the normalized residual stream of {token}", token=token), f"({C},)", "",
                  [Strip.of_numbers("x", worked.inputs)]),
        StripStep(_("Weights of neuron {number}", number=neuron + 1), f"({C},)", "",
                  [Strip.of_numbers("w", worked.weights)]),
        StripStep(
            _("Dot product"), _("{shape} → one number", shape=f"({C},)"),
            ngettext("The one product, plus the bias {bias}, is {before}.",
                     "The sum of all {count} products, plus the bias {bias}, is {before}.",
                     C, bias=bias, before=before),
            [Strip.of_numbers("x × w", worked.products, most)],
        ),
        StripStep(
            _("Nonlinearity: {name}", name=nonlinearity), _("one number"),
            _("{before} times the gate {gate} is {value}.", before=before, gate=decimal(worked.gate), value=value)
            if worked.gate is not None
            else _("{name} of {before} is {value}: the activation of this neuron.", name=nonlinearity, before=before,
                   value=value),
        ),
        *([StripStep(
            _("Router: expert {number}", number=neuron * config.experts // post.shape[1] + 1), _("one number"),
            _("The activation is multiplied by {weight}, the weight of its expert at {token}.",
              weight=decimal(worked.expert_weight), token=token),
        )] if config.mixture_of_experts else []),
        StripStep(
            _("Output: added to the residual stream of {token}", token=token), f"({C},)",
            _("The activation {value} times the neuron's column of the second matrix.", value=value),
            [Strip.of_numbers(_("added"), worked.added)],
        ),
    ]  # fmt: skip
    gated, number = config.activation in GATED, neuron + 1
    inner = "silu(W_g·x) ⊙ W₁·x" if gated else f"{nonlinearity}(W₁·x)"
    inner += " ⊙ router(x)" if config.mixture_of_experts else ""
    return {
        "title": _("MLP {layer}", layer=layer + 1),
        "says": _("Neuron {number} has the activation {value} at {token}.", number=number, value=value, token=token),
        "formula": f"out = W₂·({inner})" if " ⊙ " in inner else f"out = W₂·{inner}",
        "code": code_of(MixtureOfExperts.neurons, "weights = hook_point")
        if config.mixture_of_experts
        else code_of(MLP.forward, 'hidden = hook_point(hook, "hook_pre"'),
        "tensors": [_tensor(_(name), values, shape, picked=values is post) for name, values, shape in tensors],
        "cell": neuron,
        "steps": steps,
    }  # fmt: skip


def _embedding(snapshot: "Snapshot", whole: ForwardPass, place: Place) -> dict[str, Any]:
    model, config = snapshot.model, snapshot.model.config
    names = ["hook_shift_embed"] * config.token_shift + ["hook_pos_embed"] * (config.position in _ADDED)
    at = run_with_cache(model, snapshot.ids, ["hook_embed", *names])
    tokens, shifted, positions = at["hook_embed"], at.get("hook_shift_embed"), at.get("hook_pos_embed")
    shown, C = quoted(visible(snapshot.tokenizer.tokens[snapshot.ids[place.token]])), config.n_embd
    parts = [(_("token"), tokens), (_("token before"), shifted), (_("position"), positions)]
    tensors = [(name, vectors) for name, vectors in parts if vectors is not None]
    if names:
        tensors.append((_("sum"), whole.embedding))
    most = float(np.abs(whole.embedding[place.token]).max()) or 1.0
    steps = [
        StripStep(_("Row of the token embedding for {token}", token=shown), f"({C},)",
                  _("Token id {number}: row {number} of the table.", number=snapshot.ids[place.token]),
                  [Strip.of_numbers("wte", tokens[place.token], most)]),
    ]  # fmt: skip
    if shifted is not None:
        steps.append(StripStep(
            _("Embedding of the token before"), f"({C},)",
            _("Multiplied by a learned weight for each channel; zeros before the first token."),
            [Strip.of_numbers("s ⊙ wte", shifted[place.token], most)],
        ))  # fmt: skip
    if positions is not None:
        steps.append(StripStep(
            _("Row of the position embedding"), f"({C},)",
            _("Position {number}, counted from 0.", number=place.token),
            [Strip.of_numbers("wpe", positions[place.token], most)],
        ))  # fmt: skip
    if names:
        steps.append(StripStep(
            _("Sum: the residual stream before the first block"), f"({C},)", "",
            [Strip.of_numbers("x", whole.embedding[place.token], most)],
        ))  # fmt: skip
    return {
        "title": _("Embedding"),
        "says": ngettext(
            "Each token's id looks up a vector of {count} number.",
            "Each token's id looks up a vector of {count} numbers.", C,
        ),
        "formula": "x = wte[id]" + " + s ⊙ wte[id before]" * (shifted is not None)
        + " + wpe[position]" * (positions is not None),
        "code": code_of(GPT.forward, 'x = hook_point(hook, "hook_embed"', "x = self.transformer.drop(x)"),
        "tensors": [_tensor(name, values, "T, C") for name, values in tensors],
        "steps": steps,
    }  # fmt: skip


def _output(snapshot: "Snapshot", whole: ForwardPass, place: Place) -> dict[str, Any]:
    model, logits, C = snapshot.model, whole.logits[place.token], snapshot.model.config.n_embd
    at = run_with_cache(model, snapshot.ids, ["ln_final.hook_normalized"])
    read = at["ln_final.hook_normalized"]
    token = int(logits.argmax()) if place.cell is None else place.cell
    row = model.lm_head.weight.detach()[token].float().cpu().numpy()
    products, shares = read[place.token] * row, softmax(logits)
    shown, share = quoted(visible(snapshot.tokenizer.tokens[token])), percent(float(shares[token]))
    values = {"token": shown, "share": share, "logit": decimal(float(logits[token])), "count": C}
    steps = [
        StripStep(_("The last residual stream, normalized"), f"({C},)", "", [Strip.of_numbers("x", read[place.token])]),
        StripStep(_("Row of the unembedding for {token}", **values), f"({C},)", "", [Strip.of_numbers("w", row)]),
        StripStep(
            _("Dot product: the logit"), _("{shape} → one number", shape=f"({C},)"),
            ngettext("The one product is {product}.",
                     "Multiplied number by number; the sum of all {count} products is {product}.",
                     C, product=decimal(float(products.sum()))),
            [Strip.of_numbers("x × w", products)],
        ),
    ]  # fmt: skip
    if model.config.bigram_start:
        added = decimal(float(logits[token] - products.sum()))
        words = _("The table of counted pairs adds {value}: the logit is {logit}.", value=added, **values)
        steps.append(StripStep(_("Counted pairs"), _("one number"), words))
    exponent = power_of_e(float(logits[token]))
    steps.append(
        StripStep(
            _("Softmax over the vocabulary"), f"({model.vocab_size},)",
            _("{power}, divided by the sum over all tokens: {share}.", power=exponent, share=share),
        )
    )  # fmt: skip
    return {
        "title": _("Output"),
        "says": _("{token} has the logit {logit}, the probability {share}.", **values),
        "formula": "logits = W_U·norm(x)   p = softmax(logits)",
        "code": code_of(GPT.unembed, "x = hook_point"),
        "tensors": [_tensor("norm(x)", read, "T, C"), _tensor("logits", whole.logits, "T, V", picked=True)],
        "cell": token,
        "steps": steps,
    }


def _table_row(snapshot: "Snapshot", whole: ForwardPass, token: int) -> dict[str, Any]:
    logits = whole.logits[token]
    shown = quoted(visible(snapshot.tokenizer.tokens[snapshot.ids[token]]))
    best = int(logits.argmax())
    values = {"token": quoted(visible(snapshot.tokenizer.tokens[best])), "share": percent(float(softmax(logits)[best]))}
    title = _("Row of the table for {token}", token=shown)
    return {
        "title": title,
        "says": _("Most likely next: {token} {share}.", **values),
        "formula": "logits = table[id]   p = softmax(logits)",
        "code": code_of(Bigram.forward, "logits = "),
        "tensors": [_tensor("logits", whole.logits, "T, V")],
        "cell": best,
        "steps": [StripStep(title, f"({len(logits)},)", "", [Strip.of_numbers("logits", logits)])],
    }


def code_of(function: Callable, first: str, last: str | None = None) -> dict[str, str]:
    """Return the lines of a function of `core`, from the one that starts with `first`, and their location.

    Raises ValueError if no line starts so.
    """
    function = inspect.unwrap(function)  # tests wrap it to check shapes
    source, start = inspect.getsourcelines(function)
    begin = next((at for at, line in enumerate(source) if line.strip().startswith(first)), None)
    end = len(source)
    if last is not None:
        end = next((at + 1 for at, line in enumerate(source) if line.strip().startswith(last)), 0)
    if begin is None or begin >= end:
        raise ValueError(f"{function.__qualname__} has no line that begins with {first!r} or {last!r}")
    path = Path(inspect.getsourcefile(function) or "")
    where = "/".join(path.parts[-3:])
    return {"where": f"{where}:{start + begin}", "text": inspect.cleandoc("x\n" + "".join(source[begin:end]))[2:]}
