"""The pages and the navigation between them: the script that Streamlit runs for every page."""

import streamlit as st

from explorer.classroom.notices import draw_notices, require_membership
from explorer.classroom.screen import follow_teacher, publish_screen
from explorer.home.tour import draw_tour
from explorer.i18n.language import N_, _
from explorer.services.visitors import served_class
from explorer.widgets.address import LANGUAGE, ROOT, keep_written, page_file, parameter
from explorer.widgets.session import use_language
from explorer.widgets.sidebar import draw_sidebar

GROUPS = {
    "": {"home": N_("Home")},
    N_("Build"): {"data": N_("Data"), "train": N_("Train"), "generate": N_("Generate")},
    N_("Understand"): {"look_inside": N_("Look inside")},
    N_("Learn"): {"learn": N_("Lessons"), "play": N_("Play")},
    N_("Manage"): {"runs": N_("Runs"), "sweeps": N_("Sweeps"), "classroom": N_("Class")},
}

keep_written()
use_language(parameter(LANGUAGE))
require_membership()
if not served_class():
    del GROUPS["Manage"]["classroom"]
pages = {
    group: [
        st.Page(page_file(name), title=_(title), url_path=name, default=name == "home") for name, title in of.items()
    ]
    for group, of in GROUPS.items()
}
# Our own links replace Streamlit's menu, because they keep the selected run in the address.
page = st.navigation(pages, position="hidden")
st.set_page_config(
    page_title=f"{page.title} · GPT Explorer" if page.url_path else "GPT Explorer",
    page_icon=ROOT / "assets" / "images" / "icon.svg",
    layout="wide",
    initial_sidebar_state=230,
)
name = page.url_path or "home"
follow_teacher(name)
draw_sidebar(pages, page)
draw_notices(name, page.title)
draw_tour(name)
page.run()
publish_screen(name)  # the page may have written its step or prompt into the address
