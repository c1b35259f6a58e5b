"""Runs on disk and the processes that train them: folder, queue, supervisor, worker."""
