"""Everything that knows Streamlit: the pages' parts, the live streams, the server."""
