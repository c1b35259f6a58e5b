"""A prompt as a model can read it, and sentences about what it cannot read."""

from collections.abc import Collection
from typing import NamedTuple

from core.text.tasks import END, in_numbers, number_ranges, problems, task_of
from core.text.token_display import kind_of, read_newlines, visible
from core.text.tokenizers import Tokenizer
from explorer.i18n.language import _, ngettext

_ROMEO = "ROMEO:\nBut soft, what light"
_FEW = 12  # letters of an alphabet that has none of Romeo's
_QUESTIONS = 3  # of a task, offered as prompts
NEWLINE_SIGN = "⏎"  # stands for a newline in one line of input, as `\n` does


class Prompt(NamedTuple):
    """The part of a typed text that reaches the model. `text` consists of `tokens`, whose ids are `ids`."""

    text: str
    ids: list[int]
    tokens: list[str]  # raw
    shown: list[str]  # as displayed
    kinds: list[str]
    notes: list[str]  # sentences, for the person who typed
    whole: list[int]  # `ids` before the cut to `limit`


def read_prompt(typed: str, tokenizer: Tokenizer, limit: int | None = None, *, one_line: bool = True) -> Prompt:
    """Keep the characters that the model knows, and the last `limit` tokens of them; note what was left out and why."""
    by_letter = tokenizer.by_character
    text = read_line(typed if one_line else typed.replace(r"\n", r"\\n"), tokenizer.tokens)
    unseen = list(dict.fromkeys(c for c in text if c not in tokenizer.tokens)) if by_letter else []
    notes = []
    if unseen:
        text = "".join(character for character in text if character in tokenizer.tokens)
        notes.append(_unknown(unseen))
    ids = whole = tokenizer.encode(text)
    if limit is not None and len(ids) > limit:
        note = _(
            "Your prompt has {count} {letters}, but at most {most} can be shown here at once: these are the last "
            "{most}.",
            count=f"{len(ids):,}", letters=_("letters") if by_letter else _("tokens"), most=f"{limit:,}",
        )  # fmt: skip
        notes.append(note)
        ids = ids[-limit:]
    tokens = [tokenizer.tokens[id] for id in ids]
    return Prompt(
        text=tokenizer.decode(ids),
        ids=ids,
        tokens=tokens,
        shown=[visible(token) for token in tokens],
        kinds=[kind_of(token) for token in tokens],
        notes=notes,
        whole=whole,
    )


def read_line(typed: str, tokens: Collection[str]) -> str:
    r"""Read one line of input: ⏎ and `\n` stand for a newline, and ⏎ for itself if it is a token."""
    text = read_newlines(typed)
    return text if NEWLINE_SIGN in tokens else text.replace(NEWLINE_SIGN, "\n")


def newline_hint() -> str:
    """Return how to type a newline into one line."""
    return _("Type `\\n` for a newline.")


def questions_of(corpus: str) -> list[str]:
    """Return some questions of a task that no model of it trained on; none for other texts."""
    task = task_of(corpus)
    return [question + task.separator for question, _answer in problems(task)[-_QUESTIONS:]] if task else []


def number_key(corpus: str, text: str = "") -> str:
    """Return which number each character of a task stands for, and the last problem of `text` in numbers; else ""."""
    task = task_of(corpus)
    if not (task and task.numbers):
        return ""
    ranges = [
        _("{first} to {last} are {low} to {high}", first=one[0], last=one[-1], low=low, high=low + len(one) - 1)
        for one, low in number_ranges(task)
    ]
    key = _("Each number is one character: {ranges}.", ranges=", ".join(ranges))
    problem = text.rstrip(END).rpartition(END)[2]
    return f"{key} {_('{text} is {numbers}.', text=problem, numbers=in_numbers(task, problem))}" if problem else key


def as_line(text: str, tokens: Collection[str]) -> str:
    """Write a text so that `read_line` reads it."""
    return text.replace(r"\n", r"\\n").replace("\n", r"\n" if NEWLINE_SIGN in tokens else NEWLINE_SIGN)


def _unknown(unseen: list[str]) -> str:
    named = ", ".join(f"{visible(character)} (U+{ord(character):04X})" for character in unseen[:8])
    return ngettext(
        "This model's training text has no {characters}, so the model has no token for it. The model reads your "
        "prompt without it.",
        "This model's training text has no {characters}, so the model has no tokens for them. The model reads your "
        "prompt without them.",
        len(unseen), characters=_("{characters} and others", characters=named) if len(unseen) > 8 else named,
    )  # fmt: skip


def example_prompt(tokenizer: Tokenizer, sentence: list[str]) -> str:
    """Return Romeo's prompt if it suits the model, else the run's probe sentence (tokens), else some letters."""
    known, own = set(tokenizer.tokens), _text_of(tokenizer, sentence)
    # Bytes can encode any text, but a model of another script has learned nothing about Romeo.
    suits = set(_ROMEO) <= known if tokenizer.by_character else own.isascii()
    text = _ROMEO if suits else own
    # An imported model has no probe sentence.
    text = text or "".join(letter for letter in _ROMEO if letter in known) or "".join(tokenizer.tokens[:_FEW])
    return as_line(text, tokenizer.tokens)


def opening_prompt(tokenizer: Tokenizer, sentence: list[str]) -> str:
    """Return a speaker's name if Romeo's prompt suits the model, else nothing."""
    speaker, newline, _rest = _ROMEO.partition("\n")
    return speaker + newline if read_line(example_prompt(tokenizer, sentence), tokenizer.tokens) == _ROMEO else ""


def _text_of(tokenizer: Tokenizer, tokens: list[str]) -> str:
    """Return the text of displayed tokens, without the parts of characters at its ends."""
    ids = {token: id for id, token in enumerate(tokenizer.tokens)}
    return tokenizer.decode(ids[token] for token in tokens if token in ids).strip("\ufffd")
