"""The button that saves one of the page's plotly charts as a drawing; charts in the browser have `takeaway.js`."""

from explorer.components._assets import TAKEAWAY_CSS, component

_button = component("save_drawing", js=["mount.js", "save_drawing.js"], css=[TAKEAWAY_CSS])


def save_drawing(chart: str) -> None:
    """Put this below the chart of that key, drawn with `explorer.widgets.layout.takeaway`'s settings."""
    _button(key=f"{chart}_svg", data={"chart": chart}, width="content")
