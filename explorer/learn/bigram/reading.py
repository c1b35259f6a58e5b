"""From a text to batches of numbers: the first four steps."""

import random
import re

import streamlit as st
import torch

from core.lessons.bigram import (
    character_ids,
    decode,
    encode,
    examples,
    most_frequent,
    ngram_loss,
    ngram_losses,
    vocabulary_of,
)
from core.text import split_point
from core.text.batches import random_batch, split_ids
from core.text.token_display import kind_of, visible
from explorer.charts.bars import character_bars
from explorer.charts.bigram_lesson import memory_curves, two_losses
from explorer.charts.text_format import percent
from explorer.components.text import MarkedRow, marked_text
from explorer.components.tokens import token_pairs, token_strip
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets import session
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, current_palette
from explorer.widgets.prompt import read_line

_SHOWN = 700  # characters of the text at a time
_BARS = 24
LONGEST = 6  # letters of memory


def _draw_text(lab: Lab) -> None:
    with card(lab.plain("panel"), key="lesson_result"):
        start = lab.value("start", 0, st.slider, lab.plain("control"), 0, max(1, len(lab.text) - _SHOWN), step=100)
        st.code(lab.text[start : start + _SHOWN], language=None, height=260, wrap_lines=True)
        st.markdown(lab.say("result"))
        id_of = character_ids(vocabulary_of(lab.text))
        letters = [letter for letter in id_of if letter != "\n"]  # it would break the line
        token_strip(letters, id_of, note="", key="lesson_alphabet")


def _frequent_options(lab: Lab) -> list[str]:
    """The four most frequent characters, in the order of the alphabet: their order must not give the answer away."""
    return [visible(letter) for letter in sorted(letter for letter, _unused in most_frequent(lab.text)[:4])]


def _show_frequent(lab: Lab, given: str) -> None:
    counts = most_frequent(lab.text)
    letters, numbers = zip(*counts[:_BARS], strict=True)
    shown = [visible(letter) for letter in letters]
    figure = character_bars(shown, [kind_of(letter) for letter in letters], numbers, len(lab.text), current_palette())
    chart(figure, key="lesson_frequent", name="characters", numbers=lambda: {"character": shown, "count": numbers})


TEXT = Step(
    "text",
    _draw_text,
    code=(vocabulary_of, most_frequent),
    question=Question(
        answer=lambda lab: visible(most_frequent(lab.text)[0][0]),
        options=_frequent_options,
        show=_show_frequent,
        more=lambda lab: {"share": percent(most_frequent(lab.text)[0][1] / len(lab.text))},
    ),
)


def words_of(lab: Lab) -> list[str]:
    """Three words of the text, all equally long, for the question; the first is the right one."""
    found = sorted(set(re.findall(r"\b[^\W\d_]{5}\b", lab.text[:20_000])))
    if len(found) < 3:
        found = sorted({lab.text[start : start + 5] for start in range(0, min(2000, len(lab.text) - 5), 7)})
    return random.Random(lab.seed).sample(found, min(3, len(found)))


def _secret(lab: Lab) -> dict:
    numbers = encode(words_of(lab)[0], character_ids(vocabulary_of(lab.text)))
    return {"secret": " ".join(map(str, numbers))}


def _draw_numbers(lab: Lab) -> None:
    with card(lab.plain("panel"), key="lesson_result"):
        typed = lab.value("typed", "Romeo", st.text_input, lab.plain("control"), max_chars=60)
        characters = vocabulary_of(lab.text)
        id_of = character_ids(characters)
        typed = read_line(typed, characters)
        numbers = encode(typed, id_of)
        strange = [letter for letter in dict.fromkeys(typed) if letter not in id_of]
        note = lab.plain("strange") if strange else lab.plain("note")
        token_strip(list(typed), id_of, note=note, key="lesson_typed")
        st.code(f"encode(text)    = {numbers}\ndecode(numbers) = {decode(numbers, characters)!r}", wrap_lines=True)
        st.markdown(lab.say("result"))


def _show_words(lab: Lab, given: str) -> None:
    id_of = character_ids(vocabulary_of(lab.text))
    for name, word in (("chosen", given), ("secret", words_of(lab)[0])):
        st.caption(lab.plain(name))
        token_strip(list(word), id_of, note="", key=f"lesson_word_{name}")


NUMBERS = Step(
    "numbers",
    _draw_numbers,
    code=(vocabulary_of, character_ids, encode, decode),
    question=Question(
        answer=lambda lab: decode(list(map(int, _secret(lab)["secret"].split())), vocabulary_of(lab.text)),
        options=lambda lab: sorted(words_of(lab)),
        show=_show_words,
    ),
    numbers=_secret,
)


def _parts(lab: Lab) -> tuple[str, str]:
    cut = len(lab.train_ids)
    return lab.text[:cut], lab.text[cut:]


def _draw_split(lab: Lab) -> bool:
    train, val = _parts(lab)
    names = lab.plain("train"), lab.plain("val")
    with card(lab.plain("panel"), key="lesson_result"):
        for column, name, text in zip(st.columns(2), names, (train, val), strict=True):
            with column:
                st.caption(f"{name}: {len(text):,}")
                st.code(text[:150].strip(), language=None, height=110, wrap_lines=True)
        letters = lab.value("letters", 2, st.slider, lab.plain("control"), 0, LONGEST)
        with st.container(height=175, border=False):
            losses = result_of(
                (*lab.key, "memory"),
                lambda: ngram_losses(train, val, lab.vocab_size, LONGEST),
                lab.word("computing"),
            )
            if losses is None:
                return False
            lab.found["losses"] = losses
            on_train, on_val = losses[letters]
            figure = two_losses({names[0]: on_train, names[1]: on_val}, losses[0][0] * 1.25, current_palette())
            chart(
                figure, key="lesson_two", name="memory",
                numbers=lambda: {"part": names, "loss": [on_train, on_val]},
            )  # fmt: skip
        st.markdown(lab.say("result"))
    return True


def best_memory(lab: Lab) -> int:
    """The length of memory with which the text kept aside surprises least."""
    on_val = [both[1] for both in lab.found["losses"]]
    return on_val.index(min(on_val))


def _show_memory(lab: Lab, given: float) -> None:
    losses = lab.found["losses"]
    names = lab.plain("train"), lab.plain("val")
    chart(
        memory_curves(losses, names, lab.plain("axis"), current_palette()), key="lesson_memory", name="memory-all",
        numbers=lambda: {
            "letters": range(len(losses)), names[0]: [a for a, _ in losses], names[1]: [b for _, b in losses]
        },
    )  # fmt: skip


SPLIT = Step(
    "split",
    _draw_split,
    code=(split_ids, split_point, ngram_loss),
    question=Question(answer=best_memory, show=_show_memory),
    numbers=lambda lab: {"train_length": f"{len(lab.train_ids):,}", "val_length": f"{len(lab.val_ids):,}"},
)


def batch_of(lab: Lab, pieces: int, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch on view, x and y (B, T); "Draw another" asks for the next one."""
    drawn = session.recall(f"lesson-batch-{lab.step}", 0)
    return random_batch(lab.train_ids, pieces, block, torch.Generator().manual_seed(lab.seed + drawn))


def draw_another(lab: Lab) -> None:
    """The button that asks for another batch."""
    name = f"lesson-batch-{lab.step}"
    st.button(
        lab.word("another"), icon=":material/casino:", key=name,
        on_click=lambda: session.remember(name, session.recall(name, 0) + 1),
    )  # fmt: skip


def _draw_batch(lab: Lab) -> None:
    with card(lab.plain("panel"), key="lesson_result"):
        left, right = st.columns(2)
        with left:
            pieces = lab.value("pieces", 4, st.slider, lab.plain("control pieces"), 1, 8)
        with right:
            block = lab.value("block", 8, st.slider, lab.plain("control block"), 2, 12)
        x, y = lab.found["batch"] = batch_of(lab, pieces, block)
        token_pairs(x.tolist(), y.tolist(), lab.tokens, key="lesson_pairs")
        draw_another(lab)


def _show_examples(lab: Lab, given: float) -> None:
    """Every target once, in its place: as many as there are examples."""
    x, y = lab.found["batch"]
    rows, number = [], 0
    for piece, (ids, targets) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        words = []
        for context, target in examples(ids, targets):
            number += 1
            read = visible(decode(context, lab.tokens))
            words.append(lab.plain("example", number=number, context=read, target=visible(lab.tokens[target])))
        tokens = [visible(lab.tokens[target]) for target in targets]
        rows.append(MarkedRow(tokens, [0.5] * len(targets), words, lead=f"{piece + 1}"))
    marked_text(rows, note=lab.plain("examples note"), key="lesson_examples")


BATCH = Step(
    "batch",
    _draw_batch,
    code=(random_batch, examples),
    question=Question(
        answer=lambda lab: lab.found["batch"][1].numel(),
        show=_show_examples,
        more=lambda lab: dict(zip(("pieces", "block"), lab.found["batch"][1].shape, strict=True)),
    ),
)
