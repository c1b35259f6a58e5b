"""Other people's models: read, checked before anything is believed, and written so that others can read ours."""
