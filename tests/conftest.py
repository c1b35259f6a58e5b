"""What holds for every test."""

from hypothesis import settings

# No deadline: a busy machine is slow, not wrong. The same examples in every run: a failure is there for everyone.
settings.register_profile("everywhere", deadline=None, derandomize=True)
settings.load_profile("everywhere")
