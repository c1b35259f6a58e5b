"""The compiled kernels compute and sample the same as PyTorch, for every supported variant."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from core.config import ModelConfig
from core.fast import compiled
from core.fast.compiled import CompiledDecoder, is_supported, is_worthwhile, with_int8_weights
from core.fast.decode import Decoder
from core.model import build_model
from core.sampling import sample_with_probability
from core.sampling_config import GenerationConfig
from tests.core.fast.test_decode import CAUSAL
from tests.core.model.test_gpt import SMALL, VOCAB, small_gpt, some_ids

PROBABILITIES_BEFORE_AND_AFTER_AN_UPDATE = """
import sys
from pathlib import Path
import numpy as np

def probabilities():
    from core.fast.sampling_kernels import _probabilities_of
    out = np.zeros(2, np.float32)
    _probabilities_of(np.log(np.array([1, 3], np.float32)), np.float32(1), out)
    return out.round(3).tolist()

print(probabilities())
kernels = Path("core/fast/kernels.py")
kernels.write_text(kernels.read_text().replace("return p * two_to_power", "return f4(1.0) + f4(0.0) * two_to_power"))
for name in [name for name in sys.modules if name.startswith("core")]:
    del sys.modules[name]
print(probabilities())
"""

COMPILED = [switch for switch in [*CAUSAL, {"activation": "gelu_tanh"}] if is_supported(small_gpt(**switch))]


def test_at_least_21_model_variants_have_compiled_kernels():
    assert len(COMPILED) >= 21


@pytest.mark.parametrize("switch", COMPILED, ids=str)
@pytest.mark.parametrize("read", [0, 3, 9])
def test_compiled_decoding_gives_the_logits_of_the_forward_pass(switch, read):
    model, ids = small_gpt(**switch), some_ids(batch=1)
    expected = model(ids)[0][0]
    decoder = CompiledDecoder(model)
    if read:
        torch.testing.assert_close(decoder.read(ids[0, :read].tolist()), expected[read - 1], rtol=1e-4, atol=1e-4)
    steps = torch.cat([decoder.step([id]) for id in ids[0, read:].tolist()])
    torch.testing.assert_close(steps, expected[read:], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="13 tokens do not fit into a context of 12"):
        decoder.step([0])


@pytest.mark.parametrize("position", ["learned", "rope"])
def test_compiled_decoding_with_large_matrices_gives_the_same_logits(position):
    model, ids = small_gpt(n_embd=288, n_head=2, position=position), some_ids(batch=1)
    decoder = CompiledDecoder(model)
    steps = torch.cat([decoder.step([id]) for id in ids[0].tolist()])
    torch.testing.assert_close(steps, model(ids)[0][0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("width", [24, 288])
@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("shift", [False, True])
def test_compiled_decoding_of_several_texts_gives_each_its_own_logits(shift, weights, width):
    switches = {"position": "rope", "activation": "swiglu", "token_shift": shift}
    model, ids = small_gpt(n_embd=width, n_head=2, **switches), some_ids(batch=7)
    model = with_int8_weights(model) if weights == "int8" else model
    expected = model(ids)[0]
    decoder, starts = CompiledDecoder(model, weights, texts=7), [1, 2, 3, 4, 5, 6, 9]
    for text, start in enumerate(starts):
        decoder.read(ids[text, :start].tolist(), [text])
    for step in range(3):
        places = [start + step for start in starts]
        logits = decoder.step([ids[text, place].item() for text, place in enumerate(places)], range(7))
        for text, place in enumerate(places):
            torch.testing.assert_close(logits[text], expected[text, place], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("read", [1, 9])
def test_texts_that_share_a_prompt_continue_from_its_last_token(read):
    model, ids = small_gpt(token_shift=True), some_ids(batch=2)
    ids[1, :read] = ids[0, :read]
    decoder = CompiledDecoder(model, texts=2)
    decoder.read(ids[0, :read].tolist(), [0, 1])
    torch.testing.assert_close(
        decoder.step(ids[:, read].tolist(), [0, 1]), model(ids)[0][:, read], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize(
    "sampling", [{"temperature": 0.0}, {}, {"temperature": 1.0, "min_p": 0.1}, {"temperature": 1.7}], ids=str
)
def test_compiled_and_plain_sampling_agree_for_the_same_random_numbers(weights, sampling):
    model, settings = small_gpt(), GenerationConfig(**sampling)
    model = with_int8_weights(model) if weights == "int8" else model
    plain, fast = Decoder(model), CompiledDecoder(model, weights)
    uniforms = torch.rand(200, generator=torch.Generator().manual_seed(4)).tolist()
    for number, uniform in enumerate(uniforms):
        if number % SMALL["block_size"] == 0:
            logits = plain.read([number % VOCAB])
            fast.read([number % VOCAB])
        how = [(settings.temperature, settings.min_p)]
        id, probability, best, sampled = fast.write([0], how, [[uniform]], 5)[0][0]
        expected, share = sample_with_probability(logits, settings, uniform)
        own = logits.softmax(-1)
        assert (id, sampled) == (expected, pytest.approx(share, rel=1e-4))
        assert probability == pytest.approx(own[id].item(), rel=1e-4)
        assert [id for id, _ in best] == own.topk(5).indices.tolist()
        assert [p for _, p in best] == pytest.approx(own.topk(5).values.tolist(), rel=1e-4)
        if (number + 1) % SMALL["block_size"]:
            logits = plain.step(id)
            fast.step([id])


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_new_decoder_uses_the_updated_weights(weights):
    model, ids = small_gpt(), some_ids()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    logits = []
    for _ in range(2):
        decoder = CompiledDecoder(with_int8_weights(model) if weights == "int8" else model, weights)
        logits.append(decoder.read(ids[0, :5].tolist()).clone())
        model(ids, ids)[1].backward()
        optimizer.step()
    assert (logits[0] - logits[1]).abs().max() > 0.1


def test_non_finite_logits_are_not_sampled():
    model = small_gpt()
    with torch.no_grad():
        model.lm_head.weight[3, 0] = float("nan")
    decoder = CompiledDecoder(model)
    assert decoder.read([1, 2]).isnan().any()
    assert decoder.write([0], [(0.8, 0.0)], [[0.5]], 0) == []


def test_unsupported_variants_are_not_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "_KNOWN", compiled._KNOWN - {"qk_norm"})
    assert not is_supported(small_gpt(qk_norm=True))
    assert is_supported(small_gpt())
    assert not is_supported(small_gpt(position="alibi"))
    assert not is_supported(build_model(ModelConfig(**SMALL, kind="bigram"), VOCAB))
    assert not is_supported(small_gpt().to(torch.bfloat16))


@pytest.fixture
def not_loaded(monkeypatch):
    """Make the kernels count as not loaded in this test only."""
    monkeypatch.setattr(compiled, "_begun", threading.Lock())
    monkeypatch.setattr(compiled, "_loaded", threading.Event())


def test_loading_kernels_in_the_background_is_tried_once(monkeypatch, caplog, not_loaded):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    for _ in range(2):
        compiled.load_in_background()
        for thread in threading.enumerate():
            if thread.name == "load-kernels":
                thread.join()
    assert caplog.text.count("Loading the compiled kernels failed") == 1


def test_kernels_count_as_loaded_after_the_first_generated_token(not_loaded):
    model = small_gpt()
    decoder = CompiledDecoder(model)
    decoder.read([1, 2])
    assert not is_worthwhile(model, 5)
    decoder.write([0], [(0.8, 0.0)], [[0.5]], 0)
    assert is_worthwhile(model, 5)


def test_int8_weights_are_close_to_float32_and_embeddings_are_unchanged():
    model = small_gpt()
    rounded = with_int8_weights(model)
    for before, after in zip(model.parameters(), rounded.parameters(), strict=False):
        assert (before - after).abs().max() <= before.abs().max() / 200
    assert len(rounded.lm_head.weight[0].unique()) > 1
    assert not torch.equal(rounded.lm_head.weight, model.lm_head.weight)
    assert torch.equal(rounded.transformer.wte.weight, model.transformer.wte.weight)


def test_cached_machine_code_is_rebuilt_when_either_kernel_file_changes(tmp_path):
    for file in ("__init__.py", "fast/__init__.py", "fast/kernels.py", "fast/sampling_kernels.py"):
        (tmp_path / "core" / file).parent.mkdir(exist_ok=True)
        shutil.copy(Path(compiled.__file__).parents[1] / file, tmp_path / "core" / file)
    command = [sys.executable, "-c", PROBABILITIES_BEFORE_AND_AFTER_AN_UPDATE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["[0.25, 0.75]", "[0.5, 0.5]"], done.stderr
