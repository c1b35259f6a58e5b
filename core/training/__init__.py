"""Training: optimizers, the learning rate schedule, the trainer, and the estimated cost of a run."""

from core.fast import postpone_compiler

postpone_compiler()
