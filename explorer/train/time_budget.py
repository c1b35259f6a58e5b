"""Train: one slider, the minutes of training, from which all other settings follow."""

import streamlit as st

from core.config import RunConfig
from core.presets import gpt_fast
from core.runs.ancestry import check_startable
from core.runs.records import RunRecord, Status
from core.training.timed_recipe import MINUTES, expected_loss, recipe_for
from explorer.i18n.language import _, ngettext
from explorer.services import shared
from explorer.services.visitors import limits
from explorer.widgets.drafts import keep_draft
from explorer.widgets.forms import forget_inputs
from explorer.widgets.session import notifying

_FORM, _MINUTES = "time_budget", "time_budget_minutes"
_USUAL = 5


def draw_time_budget(config: RunConfig, text_length: int) -> None:
    """Draw the unobtrusive button to choose the minutes, which determine all other settings."""
    about = _("Choose the minutes; all other settings follow.")
    look = {"icon": ":material/timer:", "type": "tertiary", "help": about}
    with st.popover(_("Train for a given time"), key=_FORM, on_change="rerun", **look):  # so that the button closes it
        st.caption(
            _("Width, depth, heads, context, batch and steps are chosen for the lowest expected loss at this machine's "
              "speed; a run ends sooner where more time would not lower it.")
        )  # fmt: skip
        minutes = choose_minutes(_MINUTES)
        words = ngettext("Set for {count} minute", "Set for {count} minutes", minutes)
        st.button(words, key="time_budget_apply", on_click=_apply, args=(config.data.corpus, text_length))


def choose_minutes(key: str) -> int:
    """Draw the slider for the minutes, up to the visitor's limit; return the chosen minutes."""
    offered = [minutes for minutes in MINUTES if minutes <= limits().most_minutes] or [MINUTES[0]]
    usual = _USUAL if _USUAL in offered else offered[-1]
    return st.select_slider(_("Minutes"), offered, usual, key=key)


def settings_for(minutes: int, corpus: str, text_length: int) -> RunConfig:
    """Return the settings for a run of `minutes` on this machine, with a text of `text_length` characters.

    Raises ExplorerError if no run is that short or the text cannot be read.
    """
    vocab_size = check_startable(shared.data_dir(), gpt_fast().replace({"data.corpus": corpus}))  # for its characters
    slowdown = shared.contention_of(gpt_fast())  # by other programs, as in the time shown beside the settings
    chosen = recipe_for(minutes, text_length, lambda config: slowdown * shared.estimate_of(config, vocab_size).seconds)
    return chosen.replace({"data.corpus": corpus})


@notifying()
def _apply(corpus: str, text_length: int) -> None:
    chosen = settings_for(st.session_state[_MINUTES], corpus, text_length)
    st.session_state[_FORM] = False
    forget_inputs()
    st.session_state["preset"] = chosen.preset
    keep_draft(chosen)


def expected_loss_in_words(config: RunConfig) -> str:
    """Return the expected final loss of a run with these settings; "" if no law predicts it."""
    loss = expected_loss(config)
    return _("validation loss about **{loss}** at the end", loss=f"{loss:.2f}") if loss else ""


def difference_in_words(record: RunRecord, config: RunConfig, status: Status) -> str:
    """Return a finished run's final loss and the loss expected for its settings now; "" if none is expected."""
    loss = None if record.parent_step is not None else expected_loss(config)
    if not loss or status.state != "finished" or status.val_loss is None:
        return ""
    values = {"loss": f"{loss:.2f}", "reached": f"{status.val_loss:.2f}"}
    return _("Validation loss {reached}; {loss} was expected from size and tokens.", **values)
