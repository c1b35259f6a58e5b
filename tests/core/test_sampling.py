"""Generation: the cache changes only the speed, each setting has its effect, and the global rng is unchanged."""

import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.implementations import ByteLevelBPETokenizer

from core import sampling
from core.config import ModelConfig
from core.errors import NotFiniteError
from core.fast import compiled
from core.fast.compiled import cached_bytes, load
from core.interpretability.ablation import Part, ablation_hook
from core.model import build_model
from core.sampling import (
    GeneratedToken,
    context_start,
    generate,
    generate_together,
    sample_token,
    sampling_distribution,
    text_of,
)
from core.sampling_config import GenerationConfig
from core.text.tokenizers import BPETokenizer, CharTokenizer

VOCAB = 23
POSITIONS = ("learned", "sinusoidal", "rope", "none")
SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 16}
GREEDY = GenerationConfig(temperature=0, max_new_tokens=40)


def make(**changes):
    torch.manual_seed(3)
    model = build_model(ModelConfig(**SHAPE | changes), VOCAB).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def written(model, settings=GREEDY, prompt=(1, 2, 3), **options) -> list[int]:
    return [token.id for token in generate(model, list(prompt), settings, **options)]


def assert_as_defined(model, prompt: list[int], settings: GenerationConfig, **options) -> None:
    """Check every token's probabilities against the plain model after the tokens from `context_start` on."""
    context = list(prompt)
    for token in generate(model, prompt, settings, alternatives=VOCAB, **options):
        seen = context[context_start(len(context), model.block_size, settings.evict_fraction) :]
        belief = model(torch.tensor([seen]))[0][0, -1].softmax(-1)
        reported = torch.zeros(VOCAB).index_put(
            (torch.tensor([id for id, _unused in token.alternatives]),), probabilities_of(token)
        )
        torch.testing.assert_close(reported, belief, rtol=1e-3, atol=1e-5)
        assert token.probability == pytest.approx(belief[token.id].item(), rel=1e-3, abs=1e-5)
        context.append(token.id)
    assert len(context) == len(prompt) + settings.max_new_tokens


def probabilities_of(token) -> torch.Tensor:
    return torch.tensor([probability for _unused, probability in token.alternatives])


MODERN = {"position": "rope", "qk_norm": True, "norm": "rms", "activation": "relu2", "bigram_start": True}


@pytest.mark.parametrize(("evict_fraction", "use_cache"), [(0.0, True), (0.25, True), (0.5, True), (0.25, False)])
@pytest.mark.parametrize(
    "switch",
    [
        *({"position": p} for p in ("learned", "sinusoidal", "rope", "none")),
        MODERN,
        MODERN | {"token_shift": True},
        {"causal": False},
        {"softmax_over": "queries"},
        {"kind": "bigram"},
    ],
    ids=str,
)
def test_each_token_has_the_models_probabilities_even_beyond_the_context(switch, evict_fraction, use_cache):
    settings = GenerationConfig(temperature=1.0, max_new_tokens=34, evict_fraction=evict_fraction)
    assert_as_defined(make(**switch), [1, 2, 3], settings, use_cache=use_cache)


@settings(max_examples=40)  # each example runs the plain model 25 times
@given(
    prompt=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40),
    block_size=st.integers(2, 20),
    evict_fraction=st.floats(0, 0.75),
    position=st.sampled_from(POSITIONS),
    seed=st.integers(0, 2**31 - 1),
)
def test_each_token_has_the_models_probabilities_for_any_prompt_and_context(
    prompt, block_size, evict_fraction, position, seed
):
    settings = GenerationConfig(temperature=1.0, max_new_tokens=25, evict_fraction=evict_fraction, seed=seed)
    assert_as_defined(make(block_size=block_size, position=position), prompt, settings)


@pytest.mark.parametrize("position", POSITIONS)
def test_cached_and_uncached_text_are_identical_even_beyond_the_context(position):
    model = make(position=position)
    assert written(model, use_cache=True) == written(model, use_cache=False)


@pytest.mark.parametrize("kind", ["gpt", "bigram"])
def test_a_read_only_hook_changes_nothing_and_is_called_for_every_token(kind):
    seen = []
    hook = lambda name, tensor: seen.append(tensor.size(1)) if name == "hook_embed" else None  # noqa: E731
    model = make(kind=kind)
    assert written(model, hook=hook) == written(model)
    assert seen[:5] == [3, 4, 5, 6, 7] and len(seen) == 40 and max(seen) <= model.block_size


def test_an_ablation_hook_changes_the_generated_text():
    """Each greedy token is the likeliest one of the model without the two ablated parts, after the text so far."""
    model = make()
    hook = ablation_hook(model, [Part("head", 0, 1), Part("mlp", 1)])
    settings = GenerationConfig(temperature=0.0, max_new_tokens=8)
    context = [1, 2, 3]
    for token in generate(model, context, settings, hook=hook):
        assert token.id == int(model(torch.tensor([context]), hook=hook)[0][0, -1].argmax())
        context = [*context, token.id]
    assert context[3:] != [token.id for token in generate(model, [1, 2, 3], settings)]


def test_a_generated_text_used_as_the_prompt_continues_the_same_way():
    model = make()
    whole = written(model)
    assert written(model, prompt=[1, 2, 3, *whole[:30]])[:10] == whole[30:]


@given(st.integers(2, 300), st.floats(0, 0.75))
def test_context_start_keeps_the_text_within_the_context_and_moves_in_steps(block_size, evict_fraction):
    step = max(1, int(evict_fraction * block_size))
    firsts = [context_start(length, block_size, evict_fraction) for length in range(1, 4 * block_size)]
    for length, first in enumerate(firsts, start=1):
        assert first == 0 or block_size - step < length - first <= block_size
        assert length > block_size or first == 0
    assert {later - earlier for earlier, later in pairwise(firsts)} <= {0, step}


def test_an_evict_fraction_of_zero_slides_by_one_token():
    assert [context_start(length, 4, 0.0) for length in range(1, 9)] == [0, 0, 0, 0, 1, 2, 3, 4]
    assert [context_start(length, 4, 0.5) for length in range(1, 9)] == [0, 0, 0, 0, 2, 2, 4, 4]


@pytest.mark.parametrize("changes", [{}, {"temperature": 0.5}, {"temperature": 2.0, "top_k": 3}, {"temperature": 0.0}])
def test_a_token_reports_its_sampling_probability(changes):
    model, context = make(), [1, 2, 3]
    settings = GenerationConfig(max_new_tokens=5).replace(changes)
    for token in generate(model, context, settings):
        logits = model(torch.tensor([context]))[0][0, -1]
        if settings.top_k:
            logits = logits.masked_fill(logits < logits.topk(settings.top_k).values[-1], float("-inf"))
        shares = (logits / settings.temperature).softmax(-1) if settings.temperature else torch.eye(VOCAB)[token.id]
        assert token.sampled == pytest.approx(shares[token.id].item(), rel=1e-3)
        context = [*context, token.id]


@pytest.mark.parametrize("kind", ["gpt", "bigram"])
def test_greedy_text_is_the_argmax(kind):
    model = make(kind=kind)
    for token in generate(model, [1, 2, 3], GREEDY):
        assert token.alternatives[0] == (token.id, pytest.approx(token.probability))
        assert len(token.alternatives) == 5
    assert {token.alternatives for token in generate(model, [1, 2, 3], GREEDY, alternatives=0)} == {()}


def test_the_same_seed_generates_the_same_text_and_another_seed_another():
    model = make()
    free = GenerationConfig(temperature=1.0, max_new_tokens=30, seed=7)
    assert written(model, free) == written(model, free)
    assert written(model, free) != written(model, free.replace({"seed": 8}))


def test_generation_leaves_the_global_rng_and_the_training_mode_unchanged():
    model = make().train()
    before, ours = torch.get_rng_state(), random.getstate()
    written(model, GenerationConfig(temperature=1.0, max_new_tokens=5))
    assert torch.equal(before, torch.get_rng_state())
    assert random.getstate() == ours
    assert model.training


@pytest.mark.parametrize("position", POSITIONS)
def test_greedy_text_with_evict_fraction_zero_matches_nanogpts_generate(position):
    """nanoGPT's `generate` loop far beyond the context: each token is predicted from the last `block_size` tokens."""
    model = make(position=position)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        for _unused in range(60):
            logits = model(ids[:, -model.block_size :])[0][:, -1]
            ids = torch.cat((ids, logits.argmax(dim=-1, keepdim=True)), dim=1)
    settings = GREEDY.replace({"max_new_tokens": 60, "evict_fraction": 0.0})
    for use_cache in (True, False):
        assert written(model, settings, use_cache=use_cache) == ids[0, 3:].tolist()
    assert written(model, GREEDY.replace({"max_new_tokens": 60})) != ids[0, 3:].tolist(), "by default it differs"


def tokens(*ids: int) -> list[GeneratedToken]:
    return [GeneratedToken(id, 1.0, (), 1.0) for id in ids]


def test_text_stops_at_a_character_inside_a_token_or_spanning_tokens():
    grown = ByteLevelBPETokenizer()
    grown.train_from_iterator(["the the then 😀"] * 4, vocab_size=259, min_frequency=1, show_progress=False)
    tokenizer = BPETokenizer(Tokenizer.from_str(grown.to_str()))
    ids = tokenizer.encode("a the 😀 end")
    assert " the" in tokenizer.tokens and len(tokenizer.encode("😀")) == 4
    for stop, text in (("", "a the 😀 end"), ("h", "a t"), ("😀", "a the "), ("zd", "a the 😀 en"), ("a", "")):
        assert "".join(text_of(tokens(*ids), tokenizer, stop)) == text
    assert "".join(text_of(tokens(*ids[:-6]), tokenizer)) == tokenizer.decode(ids[:-6]), "a character is cut at the end"


def test_no_token_is_generated_after_the_stop_character():
    chars = CharTokenizer.from_text("abc")
    generated = iter(tokens(0, 1, 2, 0, 1))
    assert "".join(text_of(generated, chars, "c")) == "ab"
    assert [token.id for token in generated] == [0, 1]


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        written(make(), prompt=())


LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])


ROLLS = [roll / 1500 for roll in range(1500)]


def drawn(**settings) -> set[int]:
    return {sample_token(LOGITS, GenerationConfig(**settings), roll) for roll in ROLLS[::20]}


def test_top_k_top_p_and_min_p_keep_only_the_likeliest_tokens():
    assert drawn(temperature=1.0) == {0, 1, 2, 3}
    assert drawn(temperature=1.0, top_k=2) == {0, 1}
    assert drawn(temperature=1.0, top_p=0.5) == {0}  # the first alone has 64%
    assert drawn(temperature=1.0, top_p=0.65) == {0, 1}
    assert drawn(temperature=0.0) == drawn(temperature=1e-38) == {0}
    # Probabilities 64, 24, 9 and 3%: the last three are 37, 14 and 5% of the first.
    assert drawn(temperature=1.0, min_p=0.3) == {0, 1}
    assert drawn(temperature=1.0, min_p=0.04) == {0, 1, 2, 3}
    assert drawn(temperature=1.0, min_p=1.0) == {0}
    assert drawn(temperature=2.0, min_p=0.3) == {0, 1, 2}, "of the probabilities at the temperature, 61, 37 and 22%"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_non_finite_logits_raise_not_finite_error(bad, temperature):
    settings = GenerationConfig(temperature=temperature)
    for logits in ([0.0, bad, 1.0], [bad] * 3, [float("-inf")] * 3):
        with pytest.raises(NotFiniteError, match="logits that are not finite numbers"):
            sample_token(torch.tensor(logits), settings, 0.999)
    model = make()
    with torch.no_grad():
        model.lm_head.weight[3, 0] = bad
    with pytest.raises(NotFiniteError):
        written(model, settings)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampled_tokens_follow_the_probabilities_at_the_temperature(temperature):
    settings = GenerationConfig(temperature=temperature)
    counts = torch.bincount(torch.tensor([sample_token(LOGITS, settings, roll) for roll in ROLLS]), minlength=4)
    torch.testing.assert_close(counts / len(ROLLS), (LOGITS / temperature).softmax(-1), atol=1e-3, rtol=0)


@given(st.floats(0, 1, exclude_max=True), st.lists(st.floats(-50, 50), min_size=1, max_size=30), st.integers(0, 5))
def test_a_token_of_probability_zero_is_never_sampled(roll, logits, impossible):
    logits = torch.tensor([*logits, *[float("-inf")] * impossible])
    assert logits[sample_token(logits, GenerationConfig(temperature=1.0), roll)] > float("-inf")


@pytest.mark.parametrize("how", [{}, {"temperature": 0.0}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.2}])
def test_sampling_frequencies_match_sampling_distribution(how):
    logits, config = torch.linspace(-2, 2, 9), GenerationConfig(**how)
    shares = sampling_distribution(logits, config)
    shares = shares / shares.sum()
    drawn = torch.bincount(torch.tensor([sample_token(logits, config, at / 1500) for at in range(1500)]), minlength=9)
    assert torch.allclose(drawn / 1500, shares.float(), atol=1e-3)


TEXTS = [  # prompts and settings, beyond the context of 16 tokens
    ([1], GREEDY),
    ([1], GenerationConfig(max_new_tokens=40, seed=1)),
    (list(range(20)), GenerationConfig(max_new_tokens=30, seed=2, temperature=1.3, min_p=0.05)),
    ([4, 5, 6], GenerationConfig(max_new_tokens=7, seed=3, evict_fraction=0.5)),
    (list(range(9)), GenerationConfig(max_new_tokens=33, seed=4)),
    ([8], GenerationConfig(max_new_tokens=12, seed=5, evict_fraction=0.0)),
]


def written_together(model, texts=TEXTS, **options) -> list[list[int]]:
    return [[token.id for token in tokens] for tokens in generate_together(model, *zip(*texts, strict=True), **options)]


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_texts_generated_together_equal_those_generated_alone(monkeypatch, weights, shift):
    load()
    model = make(norm="layer", position="learned", token_shift=shift)
    texts = [(prompt, how.replace({"weights": weights})) for prompt, how in TEXTS]
    cut = [(prompt, how.replace({"top_k": 5, "top_p": 0.8})) for prompt, how in texts[:5]]
    alone, cut_alone = (
        [written(model, how, prompt, compiled=False) for prompt, how in wanted] for wanted in (texts, cut)
    )
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert written_together(model, texts * 2, use_all_threads=True) == alone * 2
        assert written_together(model, texts * 2, compiled=False) == alone * 2
        assert written_together(model, cut) == cut_alone


def test_each_text_stops_at_the_end_token():
    load()
    model = make()
    whole = written_together(model)
    end = whole[0][5]
    ended = [text[: text.index(end) + 1] if end in text else text for text in whole]
    assert written_together(model, end=end) == written_together(model, end=end, compiled=False) == ended
    assert len(ended[0]) <= 6


def test_more_texts_than_fit_into_memory_are_generated_in_turn(monkeypatch):
    load()
    model = make()
    whole = written_together(model)
    monkeypatch.setattr(sampling, "_MAX_CACHED", 4 * cached_bytes(model))
    assert written_together(model) == whole
    assert generate_together(model, [], []) == []


@pytest.mark.parametrize("how", [{}, {"top_k": 5}], ids=str)
def test_a_text_with_non_finite_logits_stops_as_it_would_alone(how):
    load()
    model = make(tie_weights=False, position="learned")
    with torch.no_grad():
        model.transformer.wte.weight[7] = float("nan")
    settings = [GenerationConfig(max_new_tokens=30, seed=seed, **how) for seed in range(6)]

    def tokens_and_error(tokens):
        ids = []
        try:
            ids.extend(token.id for token in tokens)
        except NotFiniteError:
            return ids, True
        return ids, False

    expected = [tokens_and_error(generate(model, [1], how, compiled=False)) for how in settings]
    assert {failed for _ids, failed in expected} == {False, True}
    assert [tokens_and_error(generate(model, [1], how)) for how in settings] == expected
    together = generate_together(model, [[1]] * 6, settings)
    assert [tokens_and_error(tokens) for tokens in together] == expected


def test_an_error_while_generating_together_reaches_every_reader(monkeypatch):
    load()
    texts = generate_together(make(), [[1], [2], [3]], [GREEDY] * 3)
    assert [next(tokens).id for tokens in texts]
    monkeypatch.setattr(compiled.CompiledDecoder, "write", lambda *_: 1 // 0)
    for tokens in texts:
        with pytest.raises(ZeroDivisionError):
            list(tokens)


def test_a_closed_text_is_not_generated_further(monkeypatch):
    load()
    written, write = [], compiled.CompiledDecoder.write

    def counting(decoder, texts, *more):
        written.append(len(texts))
        return write(decoder, texts, *more)

    monkeypatch.setattr(compiled.CompiledDecoder, "write", counting)
    left, *others = generate_together(make(), [[1], [2], [3]], [GREEDY] * 3)
    next(left)
    left.close()
    assert [len(list(tokens)) for tokens in others] == [40, 40]
    assert written[0] == 3 and set(written[1:]) == {2}
    assert not list(left)


def test_non_finite_logits_stop_every_text():
    load()
    model = make()
    with torch.no_grad():
        model.lm_head.weight[3, 0] = float("nan")
    for tokens in generate_together(model, [[1], [2]], [GREEDY] * 2):
        with pytest.raises(NotFiniteError):
            next(tokens)
