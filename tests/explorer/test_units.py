import pytest

from core.text.tokenizers import BPETokenizer, CharTokenizer
from explorer.i18n.language import in_units, unit, units_of
from tests.core.import_export.conftest import bpe_folder  # noqa: F401 - a fixture


@pytest.fixture
def pieces(bpe_folder):  # noqa: F811
    return BPETokenizer.from_folder(bpe_folder)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Which earlier letters does each letter look at?", "Which earlier tokens does each token look at?"),
        ("Letter", "Token"),
        ("'·letter' (letter 2) looks 3% at 'letters', 1 back.", "'·letter' (token 2) looks 3% at 'letters', 1 back."),
        ("What becomes of your prompt's letters?", "What becomes of your prompt's tokens?"),
        ("a place in the text: …“a love letter”…", "a place in the text: …“a love letter”…"),
        ("newsletters", "newsletters"),
    ],
)
def test_sentences_say_tokens_instead_of_letters_for_subword_models(pieces, written, expected):
    with units_of(pieces):
        assert in_units(written) == expected and unit() == "tokens"
        with units_of(CharTokenizer.from_text("ab")):
            assert in_units(written) == written
    assert in_units(written) == written and unit() == "letters"
