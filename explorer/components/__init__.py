"""Python faces of the browser components whose JavaScript and CSS lie in `assets/`."""
