"""The picture of the model agrees with core in every part, for every kind of model."""

from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from core.errors import ExplorerError
from core.interpretability.activations import run_with_cache
from core.interpretability.attention import attention_weight_steps
from core.interpretability.forward_pass import forward_pass
from core.interpretability.neurons import neuron_steps
from core.interpretability.training_step import training_step
from core.runs.weights import find_weights, load_model
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import kind_of, visible
from core.text.tokenizers import CharTokenizer
from explorer.look_inside.frames import Snapshot
from explorer.look_inside.model_picture import PictureRequest, draw_picture
from explorer.look_inside.opened_part import MAX_CELLS, Place, read_place, softmax, strips
from tests.core.interpretability.conftest import SWITCHES, make, run_with_hooks

TOKENIZER = CharTokenizer.from_text("abcdefgh \n.")
IDS = [3, 1, 4, 1, 5, 9]


def drawn(model, place="", **request):
    snapshot = Snapshot(None, None, model, TOKENIZER, IDS)
    return draw_picture(snapshot, PictureRequest(place, **request))


def numbers(strip):
    """Return the rows of a strip as numbers, and their largest rounding error."""
    cells = np.frombuffer(b64decode(strip["bytes"]), np.int8).reshape(-1, strip["cells"])
    return cells / 127 * strip["most"], strip["most"] / 127


def test_the_overview_shows_the_values_of_the_forward_pass():
    model = make(n_layer=3)
    picture, whole = drawn(model), forward_pass(model, IDS)
    for strip, values in [
        (picture["embedding"], whole.embedding),
        *zip(picture["neurons"], whole.neurons, strict=True),
    ]:
        shown, error = numbers(strip)
        assert shown == pytest.approx(values, abs=error)
    patterns = np.frombuffer(b64decode(picture["patterns"]), np.uint8).reshape(whole.patterns.shape) / 255
    assert patterns == pytest.approx(whole.patterns, abs=1 / 255)
    assert np.array(picture["norms"]) == pytest.approx(whole.norms, abs=1e-3)
    for row, logits in zip(picture["next"], whole.logits, strict=True):
        shares = softmax(logits)
        assert [share for *_, share in row] == pytest.approx(sorted(shares, reverse=True)[: len(row)], abs=1e-5)
        assert row[0][0] == visible(TOKENIZER.tokens[int(logits.argmax())])


def test_the_legend_has_the_kinds_of_the_whole_vocabulary_whatever_token_may_come_next():
    of_vocabulary, model = {kind_of(token) for token in TOKENIZER.tokens}, make(n_layer=1)
    for place in ("", "head-1.1"):
        assert set(drawn(model, place)["kinds"]) == of_vocabulary == {"vowel", "consonant", "space", "punctuation"}
    snapshot = Snapshot(None, None, model, TOKENIZER, [0])
    assert draw_picture(snapshot, PictureRequest())["kinds"] == drawn(model)["kinds"]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_the_drawn_contributions_add_up_to_the_top_logit(switch):
    model = make(**switch)
    of, logits = drawn(model)["contributions"], run_with_hooks(model, IDS)
    parts = np.array(of["embedding"]) + np.sum(of["attention"], axis=0) + np.sum(of["mlps"], axis=0) + of["rest"]
    assert parts == pytest.approx(logits.max(axis=-1), abs=5e-3)
    assert of["total"] == pytest.approx(logits.max(axis=-1), abs=2e-3)
    sources = np.frombuffer(b64decode(of["sources"]), np.int8).reshape(2, 2, 6, 6) / 127 * of["most"]
    assert sources.sum(axis=(1, 3)) == pytest.approx(np.array(of["attention"]), abs=12 * of["most"] / 127)


def test_without_residual_connections_there_are_no_contributions():
    assert drawn(make(residual=False))["contributions"] is None


def test_a_long_vector_is_drawn_by_the_largest_magnitude_in_each_chunk():
    values = np.zeros((1, 1000), np.float32)
    values[0, [17, 500]] = -3, 2
    shown, error = numbers(strips(values))
    assert shown.shape == (1, MAX_CELLS) and shown.min() == -3 and shown.max() == pytest.approx(2, abs=error)
    assert (shown != 0).sum() == 2


def test_an_opened_head_shows_the_arithmetic_of_its_strongest_key():
    model = make()
    opened = drawn(model, "head-2.1@5")["opened"]
    at = run_with_cache(model, IDS)
    pattern = at["blocks.1.attn.hook_pattern"][0]
    assert (opened["token"], opened["cell"]) == (4, int(pattern[4].argmax()))
    assert np.frombuffer(b64decode(opened["pattern"]), np.uint8).reshape(6, 6) / 255 == pytest.approx(
        pattern, abs=1 / 255
    )
    for tensor, name in zip(opened["tensors"], "qkvz", strict=True):
        shown, error = numbers(tensor)
        assert shown == pytest.approx(at[f"blocks.1.attn.hook_{name}"][:, 0], abs=error), name
    cell = attention_weight_steps(model, IDS, 1, 0, 4, opened["cell"])
    [products] = opened["steps"][2]["strips"]
    assert products["values"] == pytest.approx(cell.products, abs=1e-4)


def test_an_opened_mlp_shows_the_arithmetic_of_the_chosen_or_strongest_neuron():
    model = make()
    opened = drawn(model, "mlp-1@3.8")["opened"]
    steps = neuron_steps(model, IDS, 0, 7, 2)
    assert opened["cell"] == 7 and opened["steps"][2]["strips"][0]["values"] == pytest.approx(steps.products, abs=1e-4)
    post = run_with_cache(model, IDS)["blocks.0.mlp.hook_post"]
    places = next(tensor["places"] for tensor in opened["tensors"] if "places" in tensor)
    assert len(places) == 6 and len(places[0]) == min(MAX_CELLS, post.shape[1])
    assert drawn(model, "mlp-1@3")["opened"]["cell"] == np.abs(post[2]).argmax()


@pytest.mark.parametrize("switch", [{}, {"bigram_start": True}], ids=str)
def test_the_opened_output_shows_the_logit_of_the_chosen_or_most_likely_token(switch):
    model = make(**switch)
    opened = drawn(model, "output@4.3")["opened"]
    logits = run_with_hooks(model, IDS)[3]
    products = opened["steps"][2]["strips"][0]["values"]
    added = model.bigram.weight[IDS[3], 2].item() if switch else 0
    assert sum(products) + added == pytest.approx(logits[2], abs=1e-3)
    assert drawn(model, "output@4")["opened"]["cell"] == logits.argmax()


def test_the_opened_embedding_is_the_sum_of_token_and_position_embedding():
    tokens, positions, both = (numbers(tensor) for tensor in drawn(make(), "embedding")["opened"]["tensors"])
    assert tokens[0] + positions[0] == pytest.approx(both[0], abs=tokens[1] + positions[1] + both[1])
    assert len(drawn(make(position="rope"), "embedding")["opened"]["tensors"]) == 1


@pytest.mark.parametrize(
    "switch", [*SWITCHES, {"softmax_over": "queries"}, {"residual": False}, {"post_norm": True}], ids=str
)
@pytest.mark.parametrize("place", ["", "embedding", "head-1.2@4.2", "mlp-2", "output"])
def test_every_kind_of_model_is_drawn_and_opened(switch, place):
    model = make(**switch)
    if place == "mlp-2" and not model.config.feed_forward:
        with pytest.raises(ExplorerError, match="no part"):
            drawn(model, place)
        return
    picture = drawn(model, place)
    assert len(picture["next"]) == 6
    if place:
        opened = picture["opened"]
        path, line = opened["code"]["where"].split(":")
        source = (Path(__file__).parents[2] / path).read_text("utf-8").splitlines()
        assert source[int(line) - 1].strip() == opened["code"]["text"].splitlines()[0]
        assert opened["title"] and opened["formula"] and (opened["steps"] or opened["note"])


def test_a_bigram_is_drawn_from_its_table_without_layers(bigram):
    picture = drawn(bigram)
    assert picture["shape"]["layers"] == 0 and len(picture["norms"]) == 1 and not picture["neurons"]
    shown, error = numbers(picture["embedding"])
    assert shown == pytest.approx(run_with_hooks(bigram, IDS), abs=error)
    assert drawn(bigram, "output@2")["opened"]["tensors"][0]["name"] == "logits"


@pytest.fixture
def bigram():
    return make(kind="bigram")


@pytest.mark.parametrize("temperature", [0.0, 0.5, 2.0])
def test_the_sampled_token_is_the_one_that_generate_samples(temperature):
    model = make()
    sample = drawn(model, temperature=temperature, seed=3)["sample"]
    settings = GenerationConfig(max_new_tokens=1, temperature=temperature, seed=3)
    expected = next(iter(generate(model, IDS, settings))).id
    assert sample["token"][0] == visible(TOKENIZER.tokens[expected])
    shares = [share for *_, share in sample["shares"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) <= 1.0001
    if temperature == 0:
        assert shares[0] == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", Place()),
        ("embedding", Place("embedding")),
        ("head-2.1", Place("head", 1, 0)),
        ("head-1.2@6.3", Place("head", 0, 1, 5, 2)),
        ("mlp-2@1.64", Place("mlp", 1, 0, 0, 63)),
        ("output@2.11", Place("output", 0, 0, 1, 10)),
    ],
)
def test_a_part_of_the_model_is_read_from_the_address(text, place):
    assert read_place(text, make(), 6) == place


@pytest.mark.parametrize(
    "text",
    ["nowhere", "head-3.1", "head-1.3", "head-0.1", "mlp-3", "output@7", "output@0", "head-1.1@2.7", "mlp-1@1.65",
     "output@1.12", "embedding@1.1", "head-1.1@", "../head-1.1", "head-1.1@" + "9" * 20],
)  # fmt: skip
def test_a_part_or_token_that_does_not_exist_is_refused(text):
    with pytest.raises(ExplorerError, match=r"has no (part|token)"):
        read_place(text, make(), 6)


def test_a_bigram_has_no_heads(bigram):
    with pytest.raises(ExplorerError, match="no part"):
        read_place("head-1.1", bigram, 6)


def test_the_training_step_in_the_picture_agrees_with_core(finished_run):
    opened = load_model(finished_run, find_weights(finished_run, 20))
    ids = opened.tokenizer.encode("To be, or")
    snapshot = Snapshot(finished_run, None, opened.model, opened.tokenizer, ids)
    training = draw_picture(snapshot, PictureRequest("step"))["training"]
    taken = training_step(opened.model, ids, finished_run.record().config.train)
    assert training["losses"] == [*(pytest.approx(loss, abs=1e-3) for loss in taken.losses), None]
    assert (training["before"], training["after"]) == pytest.approx((taken.before, taken.after), abs=1e-3)
    assert np.array(training["stream"]) == pytest.approx(taken.stream)
    assert set(training["ratios"]) == {"embedding", "attention-1", "mlp-1", "attention-2", "mlp-2", "output"}
    moved = [taken.updates[f"transformer.{name}.weight"] for name in ("wte", "wpe")]
    expected = np.hypot(*(one.update for one in moved)) / np.hypot(*(one.weights for one in moved))
    assert training["ratios"]["embedding"] == pytest.approx(expected)
