"""A frame of the time machine shows what core computes for that snapshot, and its size is bounded for every model."""

from base64 import b64decode

import numpy as np
import pytest

from core.config import ModelConfig
from core.errors import RunError
from core.interpretability.attention import attention_patterns
from core.interpretability.embeddings import align, token_embeddings
from core.interpretability.residual_stream import lens_logits, next_token_probabilities
from core.model import build_model
from core.runs.weights import find_weights, load_model, steps_with_weights
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import visible
from core.training.checkpoints import save_weights
from explorer.components.modules import COMPONENTS
from explorer.look_inside import frames
from explorer.look_inside.frames import MAX_CELLS, PARTS, FrameRequest, frame_now, longest_drawn, make_frame
from explorer.look_inside.time_machine_views import VIEWS

PROMPT = "To be, or"


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    frames.frame_now.cache.clear()


@pytest.mark.parametrize("moment", [0, 1, -1])
def test_a_frame_agrees_with_core_in_every_part(finished_run, moment):
    step = steps_with_weights(finished_run)[moment]
    frame = make_frame(finished_run, FrameRequest(step, PROMPT))
    model, tokenizer, loaded_step = load_model(finished_run, find_weights(finished_run, step))
    ids, tokens = tokenizer.encode(PROMPT), tokenizer.tokens
    assert frame["step"] == loaded_step == step
    assert "".join(frame["tokens"]) == "To·be,·or"

    drawn = frame["attention"]
    pattern = np.frombuffer(b64decode(drawn["bytes"]), np.uint8).reshape(2, 2, len(ids), len(ids)) / 255
    assert (drawn["layers"], drawn["heads"], drawn["length"]) == (2, 2, len(ids))
    assert np.abs(pattern - attention_patterns(model, ids)).max() <= 0.5 / 255 + 1e-6

    probabilities = next_token_probabilities(model, ids)
    for shown, _, share in frame["next"]["guesses"]:
        assert share == pytest.approx(
            max(p for p, t in zip(probabilities, tokens, strict=True) if visible(t) == shown), abs=1e-4
        )
    shares = [share for *_, share in frame["next"]["guesses"]]
    assert shares == sorted(shares, reverse=True) and len(shares) + frame["next"]["others"] == len(tokens)

    logits = lens_logits(model, ids, range(len(ids)))
    best = logits.argmax(axis=-1)  # (3, T)
    shares = np.exp(logits.max(axis=-1)) / np.exp(logits).sum(axis=-1)
    assert [[cell[0] for cell in row] for row in frame["lens"]["rows"]] == [
        [visible(tokens[id]) for id in row] for row in best
    ]
    assert np.allclose([[cell[1] for cell in row] for row in frame["lens"]["rows"]], shares, atol=1e-4)
    stable_from = next(stage for stage in range(3) if (best[stage:, -1] == best[-1, -1]).all())
    assert (f"from block {stable_from} of 2" if stable_from else "before any block") in frame["lens"]["words"]

    written = list(generate(model, ids, GenerationConfig(max_new_tokens=frames.CONTINUED, temperature=0)))
    assert "".join(text for text, _, _ in frame["written"]) == tokenizer.decode([token.id for token in written])


def test_every_view_of_the_time_machine_has_a_part_of_the_frame_and_a_browser_function():
    script = (COMPONENTS / "time_machine" / "view.js").read_text("utf-8")
    assert {view.part for view in VIEWS} == set(PARTS)
    for view in VIEWS:
        assert f"function {view.name}(" in script and view.name in script.partition("};")[0]


def test_embedding_maps_of_all_steps_are_aligned_with_the_last_step(finished_run):
    first, *_, last = steps_with_weights(finished_run)
    maps = {
        step: np.array(make_frame(finished_run, FrameRequest(step, PROMPT, last))["map"]["xy"])
        for step in (first, last)
    }
    tables = {
        step: token_embeddings(load_model(finished_run, find_weights(finished_run, step)).model)
        for step in (first, last)
    }
    moved = np.linalg.norm(tables[first] - tables[last])
    assert np.abs(maps[last]).max() <= 1.001
    assert np.linalg.norm(maps[first] - maps[last]) > 0
    # Both maps use the same directions, so aligning one with the other gains almost nothing.
    aligned = align(maps[first], maps[last])
    assert np.linalg.norm(maps[first] - maps[last]) <= 1.5 * np.linalg.norm(aligned - maps[last]) + 0.1 * moved


def test_a_frame_is_computed_once_and_the_cache_is_bounded(finished_run, monkeypatch):
    steps, made = steps_with_weights(finished_run), []
    monkeypatch.setattr(frames, "make_frame", lambda folder, request: made.append(request) or {"step": request.step})
    for step in [*steps, *steps]:
        frame_now(finished_run, FrameRequest(step, PROMPT))
    assert len(made) == len(steps)
    assert (
        frames.frame_now.cache.currsize
        == sum(map(len, frames.frame_now.cache.values()))
        <= frames.frame_now.cache.maxsize
    )


def test_a_step_without_weights_is_refused_in_a_sentence(finished_run):
    with pytest.raises(RunError, match="no weights of step 13"):
        frame_now(finished_run, FrameRequest(13, PROMPT))


def test_a_prompt_without_known_tokens_still_has_an_embedding_map(finished_run):
    frame = make_frame(finished_run, FrameRequest(steps_with_weights(finished_run)[0], "😀"))
    assert frame["map"]["xy"] and "attention" not in frame


def test_all_heads_of_a_large_model_fit_into_a_frame():
    large = build_model(ModelConfig(n_layer=12, n_head=12, n_embd=24, block_size=256), 65)
    length = longest_drawn(large)
    assert 50 <= length < 128 and 144 * length**2 <= MAX_CELLS
    assert longest_drawn(build_model(ModelConfig(n_layer=4, n_head=4, n_embd=16, block_size=256), 65)) == 128


def test_attention_of_a_long_prompt_is_cut_to_its_last_tokens_and_the_frame_says_so(finished_run, monkeypatch):
    monkeypatch.setattr(frames, "MAX_CELLS", 4 * 5**2)
    frame = make_frame(finished_run, FrameRequest(steps_with_weights(finished_run)[0], PROMPT))
    assert "".join(frame["tokens"]) == "e,·or" and frame["attention"]["length"] == 5
    assert "last 5 of the 9 tokens read" in frame["cut"]
    # The patterns come from the whole prompt, as everything else in the frame does.
    model, tokenizer, _ = load_model(finished_run, find_weights(finished_run, frame["step"]))
    pattern = attention_patterns(model, tokenizer.encode(PROMPT))[..., -5:, -5:]
    drawn = np.frombuffer(b64decode(frame["attention"]["bytes"]), np.uint8).reshape(pattern.shape) / 255
    assert np.abs(drawn - pattern).max() <= 0.5 / 255 + 1e-6
    monkeypatch.undo()
    assert frame["next"] == make_frame(finished_run, FrameRequest(frame["step"], PROMPT))["next"]


def test_the_latest_save_is_a_step_of_the_time_machine_until_the_next_save(finished_run):
    model = load_model(finished_run).model
    *_, last = steps_with_weights(finished_run)
    save_weights(finished_run.weights_path, model, last + 5)
    assert steps_with_weights(finished_run)[-1] == last + 5
    assert find_weights(finished_run, last + 5) == finished_run.weights_path
    save_weights(finished_run.weights_path, model, last + 7)
    assert find_weights(finished_run, last + 5) is None and steps_with_weights(finished_run)[-1] == last + 7
