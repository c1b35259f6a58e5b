"""Arrays in, plotly figures out. Nothing here knows Streamlit, so every chart is tested without a browser."""
