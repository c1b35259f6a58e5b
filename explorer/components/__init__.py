"""Python wrappers of the browser components whose JavaScript and CSS are in `assets/`."""
