"""Train: the learning rate finder, a range test of a few seconds whose rate one click applies."""

from functools import partial

import streamlit as st

from core.config import RunConfig
from core.formatting import format_rate
from core.settings import value_at
from core.sweeps.rate_finder import FLAT, RATES, RateTest, range_test
from explorer.charts.sweeps import rate_figure
from explorer.i18n.formatting import SETTING_LABELS
from explorer.i18n.language import _
from explorer.services import shared
from explorer.services.visitors import check_may_change
from explorer.widgets.drafts import keep_draft
from explorer.widgets.forms import forget_inputs
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import chart, current_palette, literal
from explorer.widgets.session import notifying, recall, remember

_TESTED = "rate_tested"  # the settings that were tested last


def draw_rate_finder(config: RunConfig) -> None:
    """Draw the unobtrusive button for a range test, whose suggestion can be applied there."""
    about = _("Raise the rate over a hundred steps and see where the loss falls.")
    with st.popover(_("Find a learning rate"), icon=":material/troubleshoot:", type="tertiary", help=about,
                    key="rate_finder"):  # fmt: skip
        st.caption(
            _("A new model trains for a hundred steps while its learning rate rises from {low} to {high}. "
              "Nothing is saved.", low=format_rate(1e-5), high=format_rate(1.0))
        )  # fmt: skip
        tested: RunConfig | None = recall(_TESTED)
        if tested is None or _with_rates_of(tested, config) != tested:
            flat = config.replace(FLAT)
            st.button(_("Run the test"), key="rate_test", on_click=remember, args=(_TESTED, flat))
            return
        test = result_of(
            ("rate", tested.to_json()), partial(_compute, config), _("Range test"), meanwhile=_draw_partial
        )
        if test is not None:
            _draw(config, test)


def _with_rates_of(tested: RunConfig, config: RunConfig) -> RunConfig:
    """Return the tested form of the settings, with another test's rates: applying a rate requires no new test."""
    return config.replace(FLAT | {path: value_at(tested, path) for path in RATES if path not in FLAT})


def _compute(config: RunConfig):
    check_may_change()
    return range_test(config, shared.data_dir())


def _draw_partial(test: RateTest | None) -> None:
    if test and len(test.losses) > 1:
        st.plotly_chart(rate_figure(test, current_palette()), theme=None, key="rate_partial")


def _draw(config: RunConfig, test: RateTest) -> None:
    numbers = {"learning rate": test.rates, "loss": test.losses, "average": test.smoothed}
    alt = _("Training loss over the learning rate of a range test, with the suggested rate as a dashed line.")
    chart(rate_figure(test, current_palette()), key="rate_chart", numbers=lambda: numbers, name="range-test", alt=alt)
    if test.suggestion is None:
        st.caption(_("The loss never fell, so no rate is suggested."))
        return
    lowest = literal(format_rate(float(f"{test.lowest:.1e}")))
    words = _(
        "Suggested **{setting}: {rate}**, a quarter of the rate with the lowest average loss ({lowest}).",
        setting=_(SETTING_LABELS[test.setting]), rate=literal(format_rate(test.suggestion)), lowest=lowest,
    )  # fmt: skip
    st.markdown(words)
    if test.settings(config) == config:
        st.caption(_("The settings have this rate."))
    else:
        st.button(_("Take {rate}", rate=format_rate(test.suggestion)), key="rate_apply", on_click=_take,
                  args=(config, test))  # fmt: skip


@notifying()
def _take(config: RunConfig, test: RateTest) -> None:
    forget_inputs()
    keep_draft(test.settings(config))
