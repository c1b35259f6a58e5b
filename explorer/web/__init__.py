"""The web server: Streamlit's pages and our own routes in one process."""
