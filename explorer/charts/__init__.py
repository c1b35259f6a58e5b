"""Arrays in, plotly figures out. Nothing here needs Streamlit, so every chart is tested without a browser."""
