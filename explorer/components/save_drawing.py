"""The button that saves one of the page's plotly charts as a drawing."""

from explorer.components.bundle import component

_button = component("save_drawing", "page/save_drawing.js", "shared/download.css")


def save_drawing(chart: str) -> None:
    """Put this below the chart of that key, drawn with `explorer.widgets.layout.takeaway`'s settings."""
    _button(key=f"{chart}_svg", data={"chart": chart}, width="content")
