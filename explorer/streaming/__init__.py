"""Server-sent events: a run's growing rows, thinned once and sent to every watcher."""
