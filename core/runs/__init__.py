"""A run on disk, and the processes that bring it about: the folder, the queue, the supervisor, the worker."""
