"""The app that `python -m explorer` and `streamlit run explorer/app.py` serve.

Streamlit looks in this file for a plain `app = st.App(...)`; without it, only the pages are served. Environment
variables replace the options of `python -m explorer`: GPT_EXPLORER_CLASS=<title of a class> or GPT_EXPLORER_OPEN=1.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # `streamlit run` puts this file's own folder there, not the repository
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from explorer.services.visitors import serve_class  # noqa: E402
from explorer.web.middleware import check_access  # noqa: E402
from explorer.web.server import app_parts, configured_sites  # noqa: E402
from explorer.widgets.address import NAVIGATION  # noqa: E402

if (title := os.environ.get("GPT_EXPLORER_CLASS")) is not None:
    serve_class(title)
check_access(configured_sites().address, title, os.environ.get("GPT_EXPLORER_OPEN") == "1")

app = st.App(NAVIGATION, **app_parts(configured_sites(), st.get_option("server.baseUrlPath")))
