"""Settings as widgets: label, bounds, unit and help come from the config's fields."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import ceil, floor, log10
from typing import Any

import streamlit as st

from core.config import SETTINGS
from core.settings import Setting
from core.text.corpora import catalogue
from explorer.i18n.formatting import number, value_in_words
from explorer.i18n.language import _
from explorer.services import shared

SHARES = (1, 1.5, 2, 3, 4, 5, 6, 8)  # times a power of ten: the stops of a float slider that moves in factors
FACTORS = (1, 1.25, 1.5, 1.75)  # times a power of two: the stops of such an integer slider


def widget_key(path: str) -> str:
    """Return the key of a setting's widget."""
    return f"set-{path}"


def distinct_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return distinct labels by value, newest first: the newer of two gets a number. A select box returns labels."""
    taken, distinct = Counter[str](), {}
    for value, label in reversed(labels.items()):
        taken[label] += 1
        distinct[value] = f"{label} ({taken[label]})" if taken[label] > 1 else label
    return {value: distinct[value] for value in labels}


def text_labels() -> dict[str, str]:
    """Return the label of each text that the visitor can train on, by its name, for a select box."""
    return distinct_labels({corpus.name: corpus.title for corpus in catalogue(shared.data_dir())})


def forget_inputs() -> None:
    """Let every widget take its value from the config again, instead of the one it was moved to."""
    for path in SETTINGS:
        st.session_state.pop(widget_key(path), None)


def setting_input(
    path: str,
    setting: Setting,
    value: Any,
    base: Any,
    *,
    named: str = "preset",
    key: str | None = None,
    on_change: Callable[[], None] | None = None,
    whole: int = 0,
    most: Any = None,
) -> Any:
    """Draw the widget that fits a setting, marked if `value` differs from `base`; return its value.

    With `whole`, only the values that divide it are offered; with `most`, a slider ends there.
    """
    key = key or widget_key(path)
    value = st.session_state.setdefault(key, value)
    label = _(setting.label) + ("" if value == base else f" :violet-badge[{_(named)}: {value_in_words(path, base)}]")
    # The default is passed although it is in the session: if two reruns follow quickly, a browser may see only the
    # second, which does not include the session's value, and would move the widget to its minimum.
    unit = f" ({_(setting.unit)})" if setting.unit else ""
    more = {"key": key, "help": _(setting.help) + unit, "on_change": on_change}
    if setting.type is bool:
        return st.toggle(label, value, **more)
    if setting.choices:
        return st.selectbox(label, setting.choices, setting.choices.index(value), **more)
    if whole:
        return st.select_slider(label, divisors(setting, whole), value, format_func=number, **more)
    high = setting.high if most is None else max(most, value)
    if setting.in_factors:
        stops = [stop for stop in positions(setting, {value, base, high}) if stop <= high]
        return st.select_slider(label, stops, value, format_func=partial(number, path=path), **more)
    if setting.step is None and setting.high - setting.low > 1000:
        return st.number_input(label, setting.low, setting.high, value, step=1, **more)
    kind = setting.type
    step = kind(setting.step or 1)
    return st.slider(label, kind(setting.low), kind(high), kind(value), step=step, format=_format(step), **more)


def divisors(setting: Setting, whole: int) -> list[int]:
    """Return the values within the bounds of a setting that divide `whole`, and 0 if the bounds include it."""
    return [value for value in range(setting.low, setting.high + 1) if not value or whole % value == 0]


def positions(setting: Setting, also: Iterable[Any] = ()) -> list[Any]:
    """Return round values in growing steps from the lowest to the highest, and those in `also`."""
    low, high = setting.low, setting.high
    stops = {low, high, *also}
    if setting.type is int and not setting.log:
        step = setting.step or 1
        for power in range(high.bit_length()):
            stops |= {int(2**power * factor // step * step) for factor in FACTORS}
    else:
        smallest = low or 1e-6
        for power in range(floor(log10(smallest)), ceil(log10(high)) + 1):
            # Parsed from text, so that 3 * 1e-4 is 0.0003 and not 0.00030000000000000003.
            stops |= {float(f"{share}e{power}") for share in SHARES}
    return sorted({setting.type(value) for value in stops if low <= value <= high and setting.type(value) == value})


def _format(step: float) -> str:
    return "%,d" if isinstance(step, int) else f"%.{max(0, ceil(-log10(step)))}f"
