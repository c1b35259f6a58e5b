"""The diagram of the configured model: its parts, their shares of the parameters, its description."""

import pytest

from core.config import ModelConfig
from explorer.train.model_diagram import diagram_in_words, model_diagram, parameter_shares


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(n_layer=48, n_head=64, tie_weights=False, bigram_start=True, position="rope", norm="none"),
        ModelConfig(feed_forward=False),
        ModelConfig(kind="bigram"),
    ],
    ids=["usual", "all", "attention only", "bigram"],
)
def test_parameter_shares_add_up_to_one_and_every_part_is_drawn(config):
    shares = parameter_shares(config, 65)
    assert sum(shares.values()) == pytest.approx(1)
    drawn = model_diagram(config, 65)
    assert drawn.count("<div") == drawn.count("</div>")
    assert all(f'<span class="part-{part}"' in drawn for part in shares)
    assert ("Feed-forward" in drawn) == ("mlp" in shares)


def test_the_diagram_is_described_with_all_its_numbers():
    words = diagram_in_words(ModelConfig(n_layer=1, n_head=2, n_embd=32, block_size=16), 65)
    assert words.startswith("Diagram of the model: 1 block with 2 heads each, width 32, context 16.")
    assert words.count("%") == 5 and "Attention" in words
    assert (
        diagram_in_words(ModelConfig(kind="bigram"), 65)
        == "Diagram of the model: a table of 65 rows and columns, one of each for a token."
    )
