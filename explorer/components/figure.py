"""A figure made in Python that grows under one's eyes.

`st.plotly_chart` puts a new node in the place of the old one whenever its data change, and a zoom is lost with it. Here
plotly draws anew what is already there.
"""

from plotly import graph_objects as go

from explorer.components.bundle import component

_figure = component("figure", isolate=False)


def growing_figure(figure: go.Figure, *, key: str) -> None:
    """Draw a figure that has its look and height, or draw it anew in place while the key stays the same."""
    plain = figure.update_layout(template="none", autosize=True, uirevision="kept")
    _figure(data={"figure": plain.to_json(), "height": figure.layout.height}, key=key)
