"""Folds the sidebar away on a phone when another page was chosen in it."""

from explorer.components.bundle import component

_fold = component("fold_sidebar", "page/fold_sidebar.js")


def fold_sidebar(page: str) -> None:
    """Put this into the sidebar.

    Args:
        page: what is shown now; when it changes, a sidebar that lies over the page goes.
    """
    _fold(key="fold_sidebar", data={"page": page}, height=1)
