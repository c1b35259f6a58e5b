"""State that all sessions of one server share: the supervisor, opened models, jobs and caches."""
