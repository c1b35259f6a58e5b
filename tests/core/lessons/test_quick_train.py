"""What the GPT lesson trains: the ladder, a model without the mask, positions. On Shakespeare, as on the page."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from core.interpretability import finish
from core.lessons import quick_train
from core.lessons.quick_train import RUNGS, rung_configs, small_gpt, train_briefly, train_ladder
from core.lessons.self_attention import attention_to_next, position_losses, predictions_after_shuffling
from core.model import build_model
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.tokenizers import CharTokenizer

TOLERANCE = 0.03  # nats by which a rung may exceed the one below it by chance in such a short training


@pytest.fixture(scope="module")
def shakespeare():
    text = load_corpus("shakespeare", Path())[:200_000]
    tokenizer = CharTokenizer.from_text(text)
    return *split_ids(torch.tensor(tokenizer.encode_array(text)), 0.1), tokenizer.vocab_size


def test_each_ladder_rung_has_at_most_the_loss_of_the_rung_below(shakespeare, monkeypatch):
    one_head = finish(train_briefly({"one head": rung_configs()["one head"]}, *shakespeare))["one head"].val[-1]
    monkeypatch.setattr(quick_train, "RUNG_STEPS", 200)  # the differences below appear within half of the page's steps
    progress = list(train_ladder(*shakespeare))
    assert [step.done for step in progress] == sorted(step.done for step in progress)
    assert progress[-1].done == progress[-1].total
    reached = progress[-1].result
    assert [rung.name for rung in reached] == ["uniform", "unigram", "bigram", *(rung.name for rung in RUNGS)]
    ladder = [rung for rung in reached if not rung.optional]
    for below, above in (*pairwise(ladder[:3]), *pairwise(ladder[3:])):
        assert above.loss <= below.loss + TOLERANCE, f"{above.name} after {below.name}"
    bigram = ladder[2].loss
    assert one_head < bigram and ladder[-1].loss < bigram - 0.15


def test_ladder_rungs_share_seed_and_batches_and_the_second_changes_only_n_head():
    configs = list(rung_configs().values())
    assert len({(c.train.seed, c.train.batch_size, c.model.block_size, c.train.steps) for c in configs}) == 1
    one_head, several = configs[0].model, configs[1].model
    assert one_head.model_copy(update={"n_head": 4}) == several


def test_an_unmasked_model_attends_to_the_next_token_and_fails_at_the_last_position(shakespeare):
    val_ids = shakespeare[1]
    steps = {"train.steps": 150, "train.eval_interval": 150}  # the page trains longer, which only widens every gap
    configs = {name: small_gpt(causal=name == "masked").replace(steps) for name in ("masked", "open")}
    courses = finish(train_briefly(configs, *shakespeare))
    assert courses["open"].train[-1] < courses["masked"].train[-1] - 0.5
    by_place = {name: position_losses(course.model, val_ids) for name, course in courses.items()}
    assert by_place["open"][-1] > by_place["open"][:-1].mean() + 1
    assert by_place["open"][-1] > by_place["masked"][-1] + 0.3
    assert (
        attention_to_next(courses["open"].model, val_ids) > 0.5
        and attention_to_next(courses["masked"].model, val_ids) == 0
    )


def test_one_layer_predicts_the_same_after_shuffling_only_without_positions():
    ids = [1, 2, 3, 4, 5, 6]
    for position in ("none", "learned", "rope", "sinusoidal"):
        torch.manual_seed(0)
        model = build_model(small_gpt(n_layer=1, position=position).model, 11).eval()
        shuffled, before, after = predictions_after_shuffling(model, ids)
        assert shuffled != ids and sorted(shuffled) == ids and shuffled[-1] == ids[-1]
        assert torch.allclose(before, after, atol=1e-6) == (position == "none")
