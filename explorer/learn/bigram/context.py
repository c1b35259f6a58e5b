"""Why one character of context is not enough."""

from collections import Counter
from functools import lru_cache

import streamlit as st
import torch

from core.lessons.bigram import next_character_counts, ngram_losses, rows_needed
from core.text.token_display import kind_of, visible
from explorer.charts.bars import prediction_bars
from explorer.learn.bigram.learned import learned
from explorer.learn.bigram.reading import LONGEST
from explorer.learn.lab import Lab, Material
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, current_palette
from explorer.widgets.prompt import newline_hint, read_line

_READ = 3  # letters at most, in the panel
_BARS = 5


def _draw(lab: Lab) -> bool:
    with card(lab.plain("panel"), key="lesson_result"):
        begin = frequent_stretch(lab.text)
        typed = lab.value(
            "context", begin, st.text_input, lab.plain("control"), max_chars=20, width=260, help=newline_hint()
        )
        typed = "".join(letter for letter in read_line(typed, lab.tokens) if letter in lab.tokens) or begin
        ends = [typed[-length:] for length in range(1, min(_READ, len(typed)) + 1)]
        for column, end in zip(st.columns(_READ), ends, strict=False):
            with column:
                seen = next_character_counts(lab.text, end)
                key = "after" if sum(seen.values()) else "never"
                st.markdown(lab.say(key, end=_signs(end), times=f"{sum(seen.values()):,}"))
                if seen:
                    counts = torch.tensor([seen[token] for token in lab.tokens], dtype=torch.float64)
                    _bars(lab, counts / counts.sum(), f"lesson_after_{len(end)}")
        st.markdown(lab.say("result"))
    with card(lab.plain("panel rows"), key="lesson_rows_needed"):
        cut = len(lab.train_ids)
        losses = result_of(
            (*lab.key, "memory"),
            lambda: ngram_losses(lab.text[:cut], lab.text[cut:], lab.vocab_size, LONGEST),
            lab.word("computing"),
        )
        found = learned(lab) if losses is not None else None
        if found is None:
            return False
        st.table(_rows(lab, [on_val for _unused, on_val in losses]))
        st.markdown(lab.say("rows", most=f"{rows_needed(lab.vocab_size, 8):,}"))
    return True


def _rows(lab: Lab, losses: list[float]) -> dict[str, list[str]]:
    train = lab.text[: len(lab.train_ids)]
    memories = range(1, 6)
    return {
        lab.plain("column letters"): [str(letters) for letters in memories],
        lab.plain("column rows"): [f"{rows_needed(lab.vocab_size, letters):,}" for letters in memories],
        lab.plain("column seen"): [f"{_stretches(train, letters):,}" for letters in memories],
        lab.plain("column loss"): [f"{losses[letters]:.2f}" for letters in memories],
    }


@lru_cache(maxsize=32)
def _stretches(text: str, letters: int) -> int:
    return len({text[start : start + letters] for start in range(len(text) - letters)})


@lru_cache(maxsize=8)
def frequent_stretch(text: str) -> str:
    """The most frequent stretch of three characters, of letters alone if there is one: where the panel begins."""
    counts = Counter(text[start : start + _READ] for start in range(len(text) - _READ + 1)).most_common()
    return next((stretch for stretch, _unused in counts if stretch.isalpha()), counts[0][0])


@lru_cache(maxsize=8)
def telling_pair(material: Material) -> tuple[str, str]:
    """Two frequent pairs that end alike and go on most differently in the text: what a bigram cannot tell apart."""
    text, V = material.text, material.tokenizer.vocab_size
    ids, letters = material.ids, material.tokenizer.tokens
    counts = torch.bincount(ids[:-1] * V + ids[1:], minlength=V * V)
    places = [divmod(int(place), V) for place in counts.argsort(descending=True, stable=True)[:120]]
    pairs = [letters[a] + letters[b] for a, b in places if counts[a * V + b]]
    pairs = [pair for pair in pairs if pair.isalpha()][:40] or pairs[:40]
    shares = {}
    for pair in pairs:
        seen = next_character_counts(text, pair)
        total = max(1, sum(seen.values()))
        shares[pair] = torch.tensor([seen[letter] / total for letter in letters])
    best, found = -1.0, (pairs[0], pairs[0])
    for one in pairs:
        for other in pairs:
            if one < other and one[-1] == other[-1]:
                apart = float((shares[one] - shares[other]).abs().sum())
                if apart > best:
                    best, found = apart, (one, other)
    return found


def _expected(lab: Lab, context: str) -> torch.Tensor:
    """What the model expects after a context: probabilities (V,)."""
    ids = torch.tensor([lab.tokenizer.encode(context)])
    with torch.no_grad():
        return lab.found["learned"].model(ids)[0][0, -1].softmax(dim=-1)


def told_apart(lab: Lab) -> str:
    """Whether the model expects exactly the same after both contexts: "same" or "different"."""
    first, second = telling_pair(lab.material)
    return "same" if torch.equal(_expected(lab, first), _expected(lab, second)) else "different"


def _show_both(lab: Lab, given: str) -> None:
    for column, context in zip(st.columns(2), telling_pair(lab.material), strict=True):
        with column:
            st.markdown(lab.say("model after", end=_signs(context)))
            _bars(lab, _expected(lab, context), f"lesson_model_{context}")


def _bars(lab: Lab, shares: torch.Tensor, key: str) -> None:
    signs = [visible(token) for token in lab.tokens]
    kinds = [kind_of(token) for token in lab.tokens]
    chart(
        prediction_bars(shares.numpy(), signs, kinds, current_palette(), count=_BARS), key=key, name="what-follows",
        numbers=lambda: {"next letter": signs, "probability": shares.numpy()},
    )  # fmt: skip


def _signs(text: str) -> str:
    return "".join(visible(letter) for letter in text)


def _pair(lab: Lab) -> dict[str, str]:
    first, second = telling_pair(lab.material)
    return {"first": _signs(first), "second": _signs(second)}


STEP = Step(
    "context",
    _draw,
    code=(next_character_counts, rows_needed),
    question=Question(
        answer=told_apart,
        options=lambda lab: ["same", "different"],
        named=True,
        show=_show_both,
        more=_pair,
    ),
    numbers=_pair,
)
