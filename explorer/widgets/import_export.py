"""Import and export: a model becomes a run, and a run becomes files for other programs and people."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from core.paths import is_shared, mark_shared
from core.runs.folder import RunFolder
from explorer.i18n.language import N_, _
from explorer.services import shared, visitors
from explorer.services.model_files import (
    EXPORTS,
    MAX_MEGABYTES,
    Upload,
    import_from_hub,
    import_uploads,
    why_no_export,
)
from explorer.widgets import address, session
from explorer.widgets.forms import text_labels
from explorer.widgets.layout import errors_shown, literal

_WHAT = N_(
    "Import a GPT-2, GPT-NeoX or Llama of any size, or a nanoGPT checkpoint, as a run: look inside it, generate "
    "text, train it further. Nothing in its files is executed."
)
_IMPORT = "import"  # the buttons that import a model
_FILES = N_(
    "From Hugging Face: config.json and model.safetensors, with tokenizer.json, or vocab.json and merges.txt. "
    "From nanoGPT: ckpt.pt. From this app: the zip that Download gives for a run. Other files are ignored."
)
_TEXT = N_(
    "The text for looking inside the model and training it further. A model without a tokenizer needs the text "
    "whose characters it was trained on."
)


def draw_import() -> None:
    """Import a model from files or from Hugging Face, then open it on Look inside."""
    _open_imported()  # the rerun that the news of the imported run causes ends the request that imported it
    # A new key makes a new popover, which is closed and empty; so each import gets a new key.
    taken = session.recall("models_taken", 0)
    with st.popover(_("Import a model"), icon=":material/upload_file:", key=f"import_{taken}"):
        st.caption(_(_WHAT))
        titles = text_labels()
        corpus = st.selectbox(_("Text"), list(titles), format_func=titles.get, key="import_corpus", help=_(_TEXT))
        name = st.text_input(_("Run name"), key=f"import_name_{taken}", max_chars=80, placeholder=_("imported model"))
        files, hub = st.tabs([_("Files"), _("Hugging Face name")])
        with files:
            label = _("config.json and model.safetensors, or ckpt.pt, or the zip of a run")
            bounds = {"accept_multiple_files": True, "max_upload_size": MAX_MEGABYTES}
            sent = st.file_uploader(label, key=f"import_files_{taken}", help=_(_FILES), **bounds)
            if st.button(_("Import files"), key="import_files_go"):
                uploads = [Upload(file.name, file, file.size) for file in sent]
                _take(lambda: import_uploads(shared.data_dir(), uploads, corpus, name), _("Reading the model ..."))
        with hub:
            hub_name = st.text_input(_("Name"), key=f"import_hub_{taken}", placeholder=_("gpt2, or owner/model"))
            about = _("Needs a network; the files are kept on this machine.")
            if st.button(_("Download"), key="import_hub_go", help=about):
                fetch = partial(import_from_hub, shared.data_dir(), hub_name.strip(), corpus, name)
                _take(fetch, _("Downloading the model ..."))


def draw_exports(folder: RunFolder) -> None:
    """Draw links to the exports of a run; if one is impossible, show why."""
    with st.popover(_("Export"), icon=":material/ios_share:", key=f"export_{folder.id}"), errors_shown():
        if visitors.served_class() and not folder.read_only and not visitors.visitor().is_teacher:
            done = visitors.is_handed_in(folder.id)
            label = _("Handed in to the teacher") if done else _("Hand in to the teacher")
            hand_in = {"key": f"hand_in_{folder.id}", "on_click": _hand_in, "args": (folder,), "disabled": done}
            st.button(label, icon=":material/check:" if done else None, **hand_in)
        for kind, (label, _ending) in EXPORTS.items():
            if obstacle := why_no_export(shared.data_dir(), folder, kind):
                st.caption(f"{_(label)}: {literal(obstacle)}")
            else:
                address = f"api/runs/{folder.id}/download?for={kind}"
                st.link_button(_(label), address, icon=":material/download:", width="stretch")


def draw_sharing(folder: RunFolder) -> None:
    """Draw the switch that lets the class read a run; nothing without a class, or for another student's run."""
    if not visitors.served_class() or folder.read_only:
        return
    key = f"share_{folder.id}"
    # The state on disk counts, because the teacher may have shared it, too.
    st.session_state[key] = is_shared(visitors.server_dir(), folder.id)
    help = _("The whole class can then look inside it, generate with it and fork it, and it stands on the wall.")
    st.toggle(_("Share"), key=key, help=help, on_change=_share, args=(folder, key))


@session.notifying()
def _hand_in(folder: RunFolder) -> None:
    visitors.check_may_change()
    visitors.hand_in(folder.id)


@session.notifying()
def _share(folder: RunFolder, key: str) -> None:
    visitors.check_may_change()
    mark_shared(visitors.server_dir(), folder.id, shared=st.session_state[key])


def _take(make: Callable[[], RunFolder], what: str) -> None:
    with errors_shown(end=True):
        visitors.check_may_change()
    with st.spinner(what, show_time=True):
        session.do_once(session.ticket(_IMPORT), make)
    _open_imported()


def _open_imported() -> None:
    folder = None
    with errors_shown():
        folder = session.click_result(_IMPORT)
    if folder:
        session.remember("models_taken", session.recall("models_taken", 0) + 1)
        session.forget_click(_IMPORT)
        address.open_page("look_inside" if folder.record().origin else "train", folder.id)  # only a run has curves
