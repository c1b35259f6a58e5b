"""Writing: the cache changes the speed only, the settings do what they say, and nobody else's dice are touched."""

import pytest
import torch

from core.config import GenerationConfig, ModelConfig
from core.generation import choose, generate
from core.model import build_model

VOCAB = 23
GREEDY = GenerationConfig(temperature=0, max_new_tokens=40)


def make(**changes):
    torch.manual_seed(3)
    model = build_model(ModelConfig(n_layer=2, n_head=2, n_embd=16, block_size=16, **changes), VOCAB).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def written(model, settings=GREEDY, prompt=(1, 2, 3), **options) -> list[int]:
    return [token.id for token in generate(model, list(prompt), settings, **options)]


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope", "none"])
def test_cached_and_uncached_text_are_identical_also_past_the_context(position):
    model = make(position=position)
    assert written(model, use_cache=True) == written(model, use_cache=False)


@pytest.mark.parametrize("kind", ["gpt", "bigram"])
def test_greedy_text_is_the_argmax_of_the_whole_context(kind):
    model, context = make(kind=kind), [1, 2, 3]
    for token in generate(model, context, GREEDY):
        logits, _ = model(torch.tensor([context[-model.block_size :]]))
        assert token.id == logits[0, -1].argmax()
        assert token.probability == pytest.approx(logits[0, -1].softmax(-1)[token.id].item(), rel=1e-4)
        assert token.alternatives[0] == (token.id, pytest.approx(token.probability))
        context = [*context, token.id]


def test_the_same_seed_writes_the_same_text_and_another_seed_another():
    model = make()
    free = GenerationConfig(temperature=1.0, max_new_tokens=30, seed=7)
    assert written(model, free) == written(model, free)
    assert written(model, free) != written(model, free.replace({"seed": 8}))


def test_writing_leaves_the_global_generator_and_the_mode_alone():
    model = make().train()
    before = torch.get_rng_state()
    written(model, GenerationConfig(temperature=1.0, max_new_tokens=5))
    assert torch.equal(before, torch.get_rng_state())
    assert model.training


def test_a_stop_token_ends_the_text_and_is_not_part_of_it():
    model = make()
    whole = written(model)
    assert written(model, stop={whole[5]}) == whole[: whole.index(whole[5])]


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        written(make(), prompt=())


LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])


def drawn(**settings) -> set[int]:
    dice = torch.Generator().manual_seed(0)
    return {choose(LOGITS, GenerationConfig(**settings), dice) for _ in range(600)}


def test_top_k_and_top_p_leave_only_the_likeliest():
    assert drawn(temperature=1.0) == {0, 1, 2, 3}
    assert drawn(temperature=1.0, top_k=2) == {0, 1}
    assert drawn(temperature=1.0, top_p=0.5) == {0}  # the first alone holds 64 %
    assert drawn(temperature=1.0, top_p=0.65) == {0, 1}
    assert drawn(temperature=0.0) == drawn(temperature=1e-38) == {0}


def test_draws_follow_the_probabilities_at_the_temperature():
    dice = torch.Generator().manual_seed(0)
    settings = GenerationConfig(temperature=2.0)
    counts = torch.bincount(torch.tensor([choose(LOGITS, settings, dice) for _ in range(8000)]), minlength=4)
    torch.testing.assert_close(counts / 8000, (LOGITS / 2).softmax(-1), atol=0.02, rtol=0)
