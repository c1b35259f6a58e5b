"""A run on disk, and the processes that train it: the folder, the queue, the supervisor, the worker."""
