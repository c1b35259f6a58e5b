"""The hosts of a cluster, where runs train if the app was started with --engine ray."""

import streamlit as st

from core.formatting import memory_in_words
from core.runs.engines.engine import Host
from core.runs.folder import list_runs
from explorer.i18n.formatting import number
from explorer.i18n.language import _
from explorer.services import shared
from explorer.widgets.layout import card, literal


def draw_hosts() -> None:
    """Draw the free resources of each host and the visitor's runs that train there; nothing without a cluster."""
    engine = shared.supervisor().engine
    hosts = engine.hosts()
    for sentence in filter(None, (engine.problem, engine.silence)):
        st.warning(literal(sentence), icon=":material/lan:")
    if not hosts:
        return
    training: dict[str, list[str]] = {}
    for run in list_runs(shared.data_dir()):
        if host := run.status().host:
            training.setdefault(host, []).append(run.name)
    rows = [_row(host, training.get(host.name, [])) for host in hosts]
    with card(_("Hosts"), _("What each host of the Ray cluster has, and which runs train there."), key="hosts"):
        st.dataframe(rows, hide_index=True, width="stretch", key="hosts_table")


def _row(host: Host, runs: list[str]) -> dict[str, str]:
    row = {
        _("Host"): host.name,
        _("Free cores"): _of(number(host.free_cpus), number(host.cpus)),
        _("Free memory"): _of(memory_in_words(int(host.free_memory)), memory_in_words(int(host.memory))),
        _("Free GPUs"): _of(number(host.free_gpus), number(host.gpus)),
    }
    return row | {_("Training"): ", ".join(runs), _("Not used because"): host.problem}


def _of(free: str, all: str) -> str:
    return _("{free} of {all}", free=free, all=all)
