"""Server-sent events: the rows of a run as they grow, thinned once, sent to every watcher."""
