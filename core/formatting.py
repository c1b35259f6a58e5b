"""Formatting of numbers, the same on every page and on the command line, and parsing of numbers."""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from core.config import RATES

CHOICES = {
    "among": "as uncertain as a uniform choice among {count} {unit}",
    "lost": "less certain than a uniform choice among a million {unit}",
    "guess": "no better than a uniform guess",
    "worse": "worse than a uniform guess",
}
ALIKE = 0.05  # nats; an untrained model is this close to the uniform guess

SCHEDULE_RESTARTED = "learning rate schedule restarted"  # what `core.live_settings.RESTART` does


def listed(parts: Sequence[str]) -> str:
    """Join parts as "a, b and c"."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def head_name(layer: int, head: int) -> str:
    """Return the name of an attention head, "1.2" for layer 0 and head 1: names count from 1."""
    return f"{layer + 1}.{head + 1}"


def one_line(text: str) -> str:
    """Return a text as one line, without control characters."""
    return " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).split())


def whole_number(text: str) -> int | None:
    """Return a text as a number; None if it is not one, or has more digits than any step, passage or count."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def memory_in_words(bytes: int) -> str:
    """Return bytes as `23 GB`, `1.5 GB`, `410 MB`, `12 KB` (a GB is 2**30 bytes); below 10 GB with one decimal."""
    size, unit = max(0, bytes) / 2**10, "KB"
    for larger in ("MB", "GB", "TB"):
        if round(size) < 1024:
            break
        size, unit = size / 2**10, larger
    decimals = 1 if unit in ("GB", "TB") and size < 9.95 else 0
    return f"{size:,.{decimals}f} {unit}"


def format_percent(share: float) -> str:
    """Return a fraction as a percentage: 62%, 3.4%, less than 0.1%."""
    if share >= 0.0995:
        return f"{share * 100:.0f}%"
    if share >= 0.001:
        return f"{share * 100:.1f}%"
    return "less than 0.1%" if share else "0%"


def decimal(value: float, places: int = 2, *, plus: bool = False) -> str:
    """Return a number with a true minus sign, no sign for a rounded zero, and optionally a plus: −0.25, 0.00, +4.45."""
    text = f"{value:{'+' if plus else ''},.{places}f}"
    return (text.lstrip("+-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def digits(value: float) -> str:
    """Return a positive number with at least three digits, if extreme as a power of ten: 0.0000312, 85.63, 5.2e21."""
    if value and not 1e-7 <= value < 1e9:
        return f"{value:.1e}".replace("e+", "e").replace("-", "−")
    places = max(2, 2 - math.floor(math.log10(value))) if value else 2
    return f"{value:,.{places}f}"


def power_of_e(exponent: float) -> str:
    """Return "e^−1.23 ≈ 0.292": not "=", because the shown exponent is rounded."""
    return f"e^{decimal(exponent)} ≈ {digits(math.exp(min(exponent, 700)))}"


def duration_in_words(seconds: float) -> str:
    """Return a duration in one or two units: "41 s", "1 min 20 s", "42 min", "2 h 5 min", "9 days"."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 600 and seconds % 60:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    if seconds < 2 * 365 * 86_400:
        return f"{seconds // 86_400:,} days"
    return f"{seconds // (365 * 86_400):,} years"


def describe_loss(loss: float, unit: str = "letters", uniform: float | None = None) -> str:
    """Describe a loss in nats by its perplexity, or in comparison with the loss `uniform` of a uniform guess."""
    sentence, count = loss_as_choice(loss, uniform)
    return sentence.format(count=count, unit=unit)


def loss_as_choice(loss: float, uniform: float | None = None) -> tuple[str, str]:
    """Return the entry of CHOICES for a loss in nats, and its count."""
    if uniform is not None and loss > uniform:
        return CHOICES["worse" if loss > uniform + ALIKE else "guess"], ""
    choices = math.exp(min(loss, 700.0))
    return CHOICES["among"] if choices < 1e6 else CHOICES["lost"], f"{choices:,.1f}"


def format_setting(value: Any, path: str = "") -> str:
    """Return a value as the slider of the setting `path` shows it."""
    if path in RATES:
        return format_rate(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _scientific(value) if value and abs(value) < 0.01 else f"{value:g}"
    return str(value)


def format_rate(rate: float) -> str:
    """Return a learning rate, in scientific notation wherever it is between 0 and 1: 6e-3, 1.18e-2, 0."""
    return _scientific(rate) if 0 < rate < 1 else f"{rate:g}"


def _scientific(value: float) -> str:
    mantissa, power = f"{value:.3e}".split("e")
    return f"{float(mantissa):g}e{int(power)}"
