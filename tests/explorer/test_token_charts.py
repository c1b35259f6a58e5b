"""Charts of tokens, attention, predictions and embeddings, and their descriptions."""

import numpy as np
import pytest

from core.palette import DARK, LIGHT
from core.text.bpe import train_merges
from core.text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from explorer.charts.bars import character_bars, neighbor_bars, prediction_bars
from explorer.charts.embedding_map import embedding_map
from explorer.charts.heatmaps import LIGHTNESS_POWER, attention_heatmap, coarse_heatmap, table_heatmap
from explorer.charts.text_format import percent, plain
from explorer.look_inside.frames import head_in_words
from explorer.widgets.prompt import as_line, example_prompt, opening_prompt, read_prompt

TOKENS = ["h", "e", "\n", "<"]
PATTERN = np.array([[1, 0, 0, 0], [0.62, 0.38, 0, 0], [0.2, 0.3, 0.5, 0], [0.1, 0.2, 0.3, 0.4]], dtype=np.float32)


def test_hovering_over_an_attention_weight_describes_it_in_words():
    (trace,) = attention_heatmap(PATTERN, TOKENS).data
    assert trace.text[1][0] == "'e' attends 62% to 'h', 1 token back"
    assert trace.text[2][2] == "'⏎' attends 50% to itself"
    assert trace.text[3][0] == "'&lt;' attends 10% to 'h', 3 tokens back"


def test_future_keys_are_blank_only_with_a_causal_mask():
    assert np.isnan(attention_heatmap(PATTERN, TOKENS).data[0].z[0][1])
    (seeing,) = attention_heatmap(PATTERN, TOKENS, causal=False).data
    assert not np.isnan(seeing.z).any()
    assert seeing.text[0][1] == "'h' attends 0% to 'e', 1 token ahead"


def test_attention_has_tokens_on_both_axes_and_the_first_query_on_top():
    layout = attention_heatmap(PATTERN, TOKENS, DARK).layout
    assert [label.strip() for label in layout.yaxis.ticktext] == ["h", "e", "⏎", "&lt;"] == list(layout.xaxis.ticktext)
    assert layout.yaxis.range[0] > layout.yaxis.range[1]
    assert layout.yaxis.tickfont.color == DARK.text


def test_the_heatmap_and_its_color_bar_use_the_same_power():
    (trace,) = attention_heatmap(PATTERN, TOKENS).data
    assert trace.z[1][0] == pytest.approx(0.62**LIGHTNESS_POWER)
    assert trace.colorbar.tickvals[list(trace.colorbar.ticktext).index("25%")] == 0.25**LIGHTNESS_POWER


def test_a_pattern_that_does_not_fit_its_tokens_is_refused():
    with pytest.raises(ValueError, match=r"must be \(3, 3\), not \(4, 4\)"):
        attention_heatmap(PATTERN, TOKENS[:3])


def test_hovering_over_the_bigram_table_names_row_then_column():
    (trace,) = table_heatmap(PATTERN, TOKENS).data
    assert trace.text[1][0] == "'h' after 'e': 62%"


def test_predictions_are_sorted_and_the_other_tokens_summed():
    (bars,) = prediction_bars(np.array([0.1, 0.5, 0.15, 0.25]), ["a", "B", "⏎", "<"], ["vowel"] * 4, count=2).data
    assert list(bars.x) == pytest.approx([0.5, 0.25, 0.25])
    assert list(bars.text) == ["50%", "25%", "25%"]
    assert bars.hovertext[1] == "'&lt;': 25%"
    assert bars.hovertext[2] == "the 2 other tokens together: 25%"
    assert bars.marker.color[0] == LIGHT.kinds["vowel"]


def test_with_few_tokens_there_is_no_bar_for_others():
    (bars,) = prediction_bars(np.array([0.4, 0.6]), ["a", "b"], ["vowel", "consonant"]).data
    assert len(bars.x) == 2


def test_neighbors_may_have_a_negative_cosine():
    figure = neighbor_bars(["b"], ["consonant"], [-0.5], "a")
    assert figure.data[0].hovertext == ("'b' and 'a' have a cosine of −0.50",)
    assert figure.layout.xaxis.range[0] < -0.5


def test_characters_keep_their_order_and_have_the_color_of_their_kind():
    figure = character_bars(["·", "e", "t", "a"], ["space", "vowel", "consonant", "vowel"], [40, 30, 20, 10], 200)
    vowels = next(trace for trace in figure.data if trace.name == "vowel")
    assert list(vowels.x) == [1, 3] and list(vowels.y) == [0.15, 0.05]
    assert vowels.marker.color == LIGHT.kinds["vowel"]
    assert vowels.hovertext[0] == "'e' is 15% of the text, 30 times"


def test_the_embedding_map_shows_each_token_at_its_point():
    points = np.arange(12, dtype=np.float32).reshape(4, 3)
    kinds = ["vowel", "consonant", "vowel", "punctuation"]
    figure = embedding_map(points, ["a", "b", "e", "<"], kinds, chosen=0, neighbors=[2])
    letters = {trace.legendgroup: trace for trace in figure.data if trace.text is not None}
    assert {trace.type for trace in figure.data} == {"scatter3d"}
    assert list(letters["vowel"].text) == ["a", "e"]
    assert list(letters["vowel"].textfont.weight) == [700, 700] and list(letters["consonant"].textfont.weight) == [400]
    assert list(letters["punctuation"].text) == ["<"]
    assert list(letters["vowel"].x) == [0, 6]
    assert letters["vowel"].textfont.color == LIGHT.kinds["vowel"]
    assert {trace.name for trace in figure.data if trace.name} == {"vowel", "consonant", "punctuation"}


def test_percentages_are_rounded_and_html_is_escaped():
    assert [percent(share) for share in (1, 0.62, 0.034, 0.0001)] == ["100%", "62%", "3.4%", "less than 0.1%"]
    assert plain("<img src=x> & b") == "&lt;img src=x&gt; &amp; b"


def test_an_attention_head_is_described_in_words():
    words = head_in_words(np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32))
    assert words == (
        "Of its attention 100% goes to the previous token, 0% to the token itself and 50% to the first token. "
        "Mean distance: 1.0 tokens back."
    )
    assert "single token" in head_in_words(np.ones((1, 1)))


def test_unknown_characters_are_dropped_from_a_prompt_and_listed():
    prompt = read_prompt("hé⏎😀h", CharTokenizer("\nh"))
    assert prompt.text == "h\nh" and prompt.ids == [1, 0, 1] and prompt.shown == ["h", "⏎", "h"]
    assert "é (U+00E9), 😀 (U+1F600)" in prompt.notes[0]


def test_a_newline_can_be_typed_into_a_text_field_of_one_line():
    newlines, with_sign = CharTokenizer.from_text("a\n\\n"), CharTokenizer.from_text("a\n⏎")
    assert read_prompt(r"a\na⏎a", newlines).text == "a\na\na" and read_prompt(r"a\\na", newlines).text == r"a\na"
    assert read_prompt(r"a\na⏎", with_sign).text == "a\na⏎", "where it is a character of the text it is itself"
    assert read_prompt("a\\n\na", newlines, one_line=False).text == "a\\n\na", "a text area has lines of its own"
    for tokenizer in (newlines, with_sign):
        for text in ("a\na", "a⏎\n" if "⏎" in tokenizer.tokens else "a\\n\na"):
            assert read_prompt(as_line(text, tokenizer.tokens), tokenizer).text == text


def test_a_long_prompt_is_cut_at_its_front():
    prompt = read_prompt("abc" * 10, CharTokenizer("abc"), limit=4)
    assert prompt.text == "cabc"
    assert "30 letters" in prompt.notes[0] and "last 4" in prompt.notes[0]


def test_the_example_prompt_has_only_characters_that_the_model_knows():
    assert example_prompt(CharTokenizer.from_text("ROMEO:\nBut soft, what light"), ["x"]).startswith("ROMEO:⏎")
    assert example_prompt(CharTokenizer("\nxy"), ["x", "\n", "y"]) == "x⏎y"
    assert example_prompt(CharTokenizer.from_text("what"), []) == "ttwhatht"
    assert example_prompt(CharTokenizer.from_text("жизнь"), []) == "жзинь"


def test_the_coarse_heatmap_describes_the_ranges_of_tokens_of_each_square():
    pattern = np.array([[1, 0, 0], [0.25, 0.75, 0], [0.5, 0.25, 0.25]], dtype=np.float32)
    figure = coarse_heatmap(pattern, 16, 40)
    (heatmap,) = figure.data
    assert heatmap.text[1][0] == "tokens 17–32 attend 25% to tokens 1–16"
    assert heatmap.text[2][2] == "tokens 33–40 attend 25% to tokens 33–40"
    assert np.isnan(heatmap.z[0][1]) and heatmap.text[0][1] == ""
    assert figure.layout.xaxis.ticktext == ("1 ", "17 ", "33 ")


def test_the_example_prompt_of_a_byte_model_is_in_the_script_of_its_text():
    poem = "飛蓋去芳園,蘭橈遊翠渚。"
    for tokenizer in (ByteTokenizer.from_text(), BPETokenizer.from_merges(train_merges(poem * 9)[:20])):
        probe, english = ([tokenizer.tokens[id] for id in tokenizer.encode(text)] for text in (poem, "Draws on"))
        cut = example_prompt(tokenizer, probe[1:])
        assert cut in poem and len(poem) - 2 <= len(cut) < len(poem)
        assert opening_prompt(tokenizer, probe) == ""
        assert example_prompt(tokenizer, english).startswith("ROMEO:⏎") and opening_prompt(tokenizer, []) == "ROMEO:\n"
