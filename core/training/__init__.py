"""Learning: the optimizer, its schedule, one step after another, and what a run will cost before it starts."""

from core.fast.compiler import postpone_compiler

postpone_compiler()
