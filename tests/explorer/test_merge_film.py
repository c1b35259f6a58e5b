"""The merge film in the browser tokenizes a text as the Python tokenizer of each vocabulary size does."""

import pytest

from core.config import ModelConfig
from core.text.bpe import BYTES, merge_history, train_merges
from core.text.tokenizers import BPETokenizer, token_texts
from core.training.work import exact_parameters
from tests.core.text.test_bpe import MIXED
from tests.javascript import in_javascript


@pytest.mark.parametrize("count", [0, 1, 20, 63])
def test_the_browser_tokenizes_and_decodes_as_python_after_any_number_of_merges(count, tmp_path):
    merges = train_merges(MIXED)
    whole, part = BPETokenizer.from_merges(merges), BPETokenizer.from_merges(merges[:count])
    given = {
        "ids": whole.encode(MIXED[:90]),
        "pairs": merge_history(MIXED, tmp_path).pairs.ravel().tolist(),
        "bytes": [data[0] for data in whole.token_bytes[:BYTES]],
        "merges": count,
    }
    tokens = "module.tokensAfter(given.ids, given.pairs, given.merges)"
    assert in_javascript("merges/merges.js", tokens, [given]) == [part.encode(MIXED[:90])]
    texts = in_javascript("merges/merges.js", f"module.textsOf({tokens}, given.pairs, given.bytes)", [given])
    assert texts == [token_texts(part, part.encode(MIXED[:90]))]


def test_every_merge_has_its_own_slider_position():
    places = in_javascript("merges/merges.js", "module.mergesAt(module.placeOf(given, 28000), 28000)", list(range(300)))
    assert places == list(range(300))


@pytest.mark.parametrize("changes", [{}, {"kind": "bigram"}, {"tie_weights": False}, {"bigram_start": True}])
def test_the_parameter_count_of_any_vocabulary_size_follows_from_three_sizes(changes):
    config = ModelConfig(n_layer=1, n_embd=16, n_head=2).model_copy(update=changes)
    one, two, three = (exact_parameters(config, size) for size in (1, 2, 3))
    given = {"known": [one, two - one, three - 2 * two + one], "size": 700}
    found = in_javascript("merges/merges.js", "module.parametersAt(given.known, given.size)", [given])
    assert found == [exact_parameters(config, 700)]
