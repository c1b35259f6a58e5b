"""Time each view of Look inside, on gpt-tiny and on the shape of GPT-2's smallest model.

The weights are random, because they do not change the time. A view that reports its progress runs for at most
`PATIENCE` seconds; its time is extrapolated from the share done.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from core.interpretability import (
    Progress,
    ablation,
    attention,
    attribution,
    embeddings,
    head_roles,
    neurons,
    patching,
    residual_stream,
    token_losses,
)
from core.interpretability.attention import attention_weight_steps
from core.interpretability.embeddings import compare_tables
from core.interpretability.memorization import copied_spans, longest_matches
from core.interpretability.residual_stream import next_token_probabilities
from core.model import GPT, build_model
from core.presets import preset
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.corpora import load_corpus
from core.text.tokenizers import CharTokenizer
from tests.benchmarks.report import report

PATIENCE = 4.0  # seconds
PROMPT, REPEATS = 64, 3
LONG = 1024  # tokens, where the context has room for them
SHAPES = {"gpt-tiny": None, "gpt2": 50_257}  # vocabulary; of the text's characters unless given
MAP_POINTS = 600  # tokens of a map, as many as the page draws


def measure() -> None:
    """Return a row for each view, with a column for each shape."""
    text = load_corpus("shakespeare", Path())
    tokenizer = CharTokenizer.from_text(text)
    ids = torch.from_numpy(tokenizer.encode_array(text[:500_000]))
    columns = {}
    for name, vocab_size in SHAPES.items():
        torch.manual_seed(0)
        model = build_model(preset(name).model, vocab_size or tokenizer.vocab_size).eval()
        tokens = [*tokenizer.tokens, *(f" {i}" for i in range(model.vocab_size - tokenizer.vocab_size))]
        columns[name] = {view: seconds(look) for view, look in views(model, ids, tokens).items()}
    names = list(SHAPES)
    rows = [{"view": view} | {f"{name}, s": columns[name][view] for name in names} for view in columns[names[0]]]
    report("Looking inside: seconds a view", rows)

    table = build_model(preset("bigram").model, tokenizer.vocab_size)
    rows = [{"view": "the bigram's table, learned and counted", "s": seconds(lambda: compare_tables(table, ids))}]
    report("Looking into a bigram: seconds", rows)

    source = np.resize(tokenizer.encode_array(text), 5_000_000)
    source = np.where(np.random.default_rng(0).random(len(source)) < 0.1, 1, source)  # no text by heart
    rows = [
        {"written": length, "source": len(source), "s": seconds(lambda length=length: copied(source, length))}
        for length in (300, 3000)
    ]
    report("Copied or composed: seconds to search the source", rows)


def views(model: GPT, ids: Tensor, tokens: list[str]) -> dict[str, Callable[[], object]]:
    """Return what each view computes for a prompt of 64 tokens, or for that many passages."""
    prompt, other = ids[:PROMPT], ids[PROMPT : 2 * PROMPT]
    long = ids[: min(LONG, model.block_size)]
    windows = ids[: 2048 * 65].view(-1, 65)[:, : PROMPT + 1]
    patterns = attention.attention_patterns(model, prompt)
    table = embeddings.token_embeddings(model)[:MAP_POINTS]
    last = model.config.n_layer - 1
    silent, means = [ablation.Part("head", 0, 0)], ablation.mean_activations(model, windows[:4])
    measured = token_losses.window_losses(model, windows[:4])
    groups = ([0, 1], [2, 3])
    return {
        "next token": lambda: next_token_probabilities(model, prompt),
        "attention of all heads": lambda: attention.attention_patterns(model, prompt),
        "attention rollout": lambda: attention.rollout(patterns),
        "attention in squares, the whole context": lambda: attention.coarse_patterns(model, long, -(-len(long) // 64)),
        "one cell's arithmetic": lambda: attention_weight_steps(model, prompt, last, 0, 40, 20),
        "logit lens": lambda: residual_stream.lens_logits(model, prompt, range(len(prompt))),
        "probability of the prompt": lambda: token_losses.token_predictions(model, prompt),
        "who said that": lambda: attribution.attribute(model, prompt),
        "residual stream": lambda: residual_stream.residual_stream(model, prompt),
        "map by axes of one's own": lambda: embeddings.own_axes(table, [groups, groups]),
        "neighbours": lambda: embeddings.nearest(table, 0, 8),
        "map by PCA, 8 steps": lambda: embeddings.project_along([table] * 8),
        "map by t-SNE": lambda: embeddings.project(table, "tsne"),
        "cosines of positions": lambda: embeddings.cosines(embeddings.position_embeddings(model)),
        "loss by place and kind": lambda: by_place_and_kind(measured, windows[:4], tokens),
        "loss on 64 pieces": lambda: token_losses.window_losses(model, windows[:64]),
        "loss without a head, 64 pieces": lambda: ablation.ablated_loss(model, windows[:64], silent),
        "80 tokens without a head": lambda: written_without(model, prompt, silent, means),
        "what a neuron writes": lambda: neurons.logit_effects(model, last, 0),
        "names of all head_roles, 64 pieces": lambda: head_roles.score_heads(model, windows[:64], tokens),
        "ranking of all head_roles, 16 pieces": lambda: ablation.rank_heads(model, windows[:16]),
        "patching, residual_stream, 64 tokens": lambda: patching.patch_map(model, prompt, other),
        "patching, attention, 64 tokens": lambda: patching.patch_map(model, prompt, other, "attention"),
        "patching, feed-forward, 64 tokens": lambda: patching.patch_map(model, prompt, other, "mlp"),
        "texts that excite a neuron, 2048 pieces": lambda: neurons.top_activations(model, windows[:2048], last, 0),
    }


def by_place_and_kind(measured: Tensor, windows: Tensor, tokens: list[str]) -> object:
    return token_losses.loss_by_position(measured), token_losses.loss_by_kind(measured, windows[:, 1:], tokens)


def written_without(model: GPT, prompt: Tensor, silent: list[ablation.Part], means: ablation.Means) -> object:
    hook = ablation.ablation_hook(model, silent, means)
    return list(generate(model, prompt.tolist(), GenerationConfig(max_new_tokens=80, seed=1), hook=hook))


def copied(source: np.ndarray, length: int) -> object:
    return copied_spans(longest_matches(source[7 : 7 + length][::-1], source), 8)


def seconds(look: Callable[[], object]) -> str:
    """Return the median of some repeats, or one measurement of what is slow or reports progress."""
    times = []
    while len(times) < REPEATS and sum(times) < PATIENCE / 4:
        started = perf_counter()
        result = look()
        if isinstance(result, Iterator):
            return _whole_time(result, started)
        times.append(perf_counter() - started)
    return f"{median(times):.3f}"


def _whole_time(steps: Iterator[Progress], started: float) -> str:
    first, prepared = None, 0.0  # the first report, which what is prepared once delays, and when it came
    while True:
        step, spent = next(steps), perf_counter() - started
        if step.done == step.total:
            return f"{spent:.2f}"
        if first is None:
            first, prepared = step.done, spent
        elif spent > PATIENCE:
            rate = (spent - prepared) / (step.done - first)
            return f"about {prepared + rate * (step.total - first):.0f} ({step.done} of {step.total} measured)"
