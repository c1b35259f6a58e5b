"""The pages and the way between them. Served by `python -m explorer`; `streamlit run explorer/app.py` works too."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # `streamlit run` puts this file's own folder there, not the repository
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from explorer.sidebar import draw_sidebar  # noqa: E402
from explorer.state import page_file  # noqa: E402

GROUPS = {
    "": {"home": "Home"},
    "Build": {"data": "Data", "train": "Train", "generate": "Generate"},
    "Understand": {"look_inside": "Look inside"},
    "Learn": {"learn": "Lessons", "play": "Play"},
    "Keep": {"runs": "Runs"},
}

pages = {
    group: [st.Page(page_file(name), title=title, url_path=name, default=name == "home") for name, title in of.items()]
    for group, of in GROUPS.items()
}
# Our own links instead of Streamlit's menu, because they keep the run on view in the address.
page = st.navigation(pages, position="hidden")
st.set_page_config(
    page_title=f"{page.title} · GPT Explorer" if page.url_path else "GPT Explorer",
    page_icon=ROOT / "assets" / "images" / "icon.svg",
    layout="wide",
    initial_sidebar_state=230,
)
draw_sidebar(pages, page)
page.run()
