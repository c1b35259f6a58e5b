"""Runs and numbers in words, the same on every page, in the current language."""

import re
from datetime import UTC, datetime
from typing import Any

from core.config import SETTINGS, ModelConfig
from core.formatting import SCHEDULE_RESTARTED, loss_as_choice, memory_in_words
from core.formatting import format_setting as english_number
from core.lessons.lesson_text import ENGLISH
from core.live_settings import RESTART
from core.runs.folder import RunFolder
from core.runs.records import Status
from core.training.hardware import Hardware
from explorer.i18n.language import N_, _, language, ngettext, unit

SETTING_LABELS = {path: setting.label for path, setting in SETTINGS.items()}  # in English
_STATES = {  # the word, and the color of its badge
    "queued": (N_("waiting"), "gray"),
    "starting": (N_("starting"), "blue"),
    "running": (N_("training"), "blue"),
    "paused": (N_("paused"), "orange"),
    "finished": (N_("finished"), "gray"),
    "stopped": (N_("stopped"), "gray"),
    "failed": (N_("failed"), "red"),
}
_PARTS = {
    "wte": N_("tokens"),
    "wpe": N_("positions"),
    "ln_1": N_("first norm"),
    "attn": N_("attention"),
    "ln_2": N_("second norm"),
    "mlp": N_("MLP"),
    "ln_f": N_("last norm"),
    "lm_head": N_("output"),
    "token_embedding_table": N_("table"),
}
_SIGN = re.compile(r"(?<!\S)[·⏎⇥](?!\S)")
_SIGN_NAMES = {"·": N_("space"), "⏎": N_("new line"), "⇥": N_("tab")}  # the signs of `core.text.token_display.visible`
_NUMBERED = {
    "head": N_("head {head}"),
    "attention": N_("attention {layer}"),
    "MLP": N_("MLP {layer}"),
    "block": N_("block {block}"),
    "before block": N_("before block {block}"),
    "after block": N_("after block {block}"),
}
_ALONE = {
    N_("embedding"),
    N_("token embedding"),
    N_("position embedding"),
    N_("previous token's embedding"),
    N_("counted pairs"),
    N_("biases"),
    N_("previous token"),
    N_("same token"),
    N_("start of text"),
    N_("start of the word"),
    N_("induction"),
    N_("aligned digits"),
    N_("carry digits"),
    N_("both numbers"),
    N_("first number"),
    N_("plus or equals sign"),
    N_("token to copy"),
    N_("mirrored token"),
    N_("next in order"),
    N_("bracket to close"),
    N_("no clear role"),
}


def state_color(state: str) -> str:
    """Return the color of a state's badge; the word beside it says the same."""
    return _STATES[state][1]


def state_in_words(status: Status) -> str:
    """Return the state of a run in one word."""
    return _(_STATES[status.state][0])


def run_in_words(folder: RunFolder, status: Status) -> str:
    """Return the state of a run in words, or for a read-only run, where it comes from."""
    if folder.read_only:
        return _("from the gallery") if folder.in_gallery else _("shared")
    return state_in_words(status)


def model_in_words(model: ModelConfig) -> str:
    """Return the kind of model in a few words: "Bigram", or "GPT · 4 layers"."""
    if model.kind == "bigram":
        return _("Bigram")
    return ngettext("GPT · {count} layer", "GPT · {count} layers", model.n_layer)


def hardware_in_words(hardware: Hardware) -> str:
    """Return the hardware that this machine trains on."""
    cores = ngettext("{count} core", "{count} cores", hardware.cores)
    return _(hardware.template, name=hardware.name, cores=cores, memory=memory_in_words(hardware.memory_bytes))


def look_in_words(causal: bool) -> str:
    """Return the question that pictures of attention answer; only a causal model is limited to earlier letters."""
    if causal:
        return _("Which earlier letters does each letter attend to?")
    return _("Which letters does each letter attend to?")


def part_in_words(part: str) -> str:
    """Translate the name of a part in the weights: `h.0.attn` is "layer 1, attention"."""
    if block := re.fullmatch(r"h\.(\d+)\.(\w+)", part):
        return _("layer {number}, {part}", number=int(block[1]) + 1, part=part_in_words(block[2]))
    return _(_PARTS[part]) if part in _PARTS else part


def named(words: str) -> str:
    """Translate a name from `core`, such as "head 1.2"; return any other words unchanged."""
    kind, _unused, place = words.rpartition(" ")
    if kind in _NUMBERED:
        return _(_NUMBERED[kind], head=place, layer=place, block=place)
    return _(words) if words in _ALONE else words


def name_signs(shown: str) -> str:
    """Name the signs for white space in displayed tokens: "· (space)", "3: ⏎ (new line)"."""
    return _SIGN.sub(lambda sign: f"{sign[0]} ({_(_SIGN_NAMES[sign[0]])})", shown)


def loss_in_words(loss: float, uniform: float | None) -> str:
    """Return `core.formatting.describe_loss` in the current language; see `units_of`."""
    sentence, count = loss_as_choice(loss, uniform)
    return _(sentence, count=count, unit=_(unit()))


def number(value: Any, path: str = "") -> str:
    """Return a value as shown beside the slider of the setting `path`."""
    if isinstance(value, bool):
        return _("on") if value else _("off")
    return english_number(value, path)


def value_in_words(path: str, value: Any) -> str:
    """Return a setting's value for the list of a run's settings; a 0 with a special meaning is spelled out."""
    return _("the last step") if path == "train.decay_steps" and value == 0 else number(value, path)


def change_in_words(path: str, value: Any, *before: Any) -> str:
    """Return a setting change, "learning rate 1e-3 → 3e-4", or without the old value, "learning rate → 3e-4"."""
    if path == RESTART:
        return _(SCHEDULE_RESTARTED)
    if (label := SETTING_LABELS.get(path)) is not None:
        label = label.lower() if language() == ENGLISH else _(label)  # other languages may capitalize nouns
    return " ".join([label or path, *(number(old, path) for old in before), "→", number(value, path)])


def when_in_words(created: str) -> str:
    """Return how long ago an ISO 8601 time was, roughly; "" for anything else."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return ""
    seconds = (datetime.now(UTC) - then.astimezone(UTC)).total_seconds()
    if seconds < 60:
        return _("just now")
    if seconds < 3600:
        return ngettext("{count} minute ago", "{count} minutes ago", int(seconds // 60))
    if seconds < 86_400:
        return ngettext("{count} hour ago", "{count} hours ago", int(seconds // 3600))
    return ngettext("{count} day ago", "{count} days ago", int(seconds // 86_400))
