"""The computations of the lessons, in as few lines as a newcomer can read; arrays in, arrays out."""

from core.lessons.experiments import EXPERIMENTS

LESSONS: dict[str, tuple[str, ...]] = {
    "bigram": ("text", "numbers", "split", "batch", "table", "loss", "gradient", "training", "writing", "context"),
    "gpt": ("averaging", "attention", "scaling", "mask", "ladder", "positions", "today", "choosing", "likeliest"),
    "tokens": ("bytes", "pairs", "merges", "price"),
    "sudden": ("induction", "grokking", "circle"),
    "scaling": ("budget", "prediction", "law"),
    "break": tuple(EXPERIMENTS),
}
"""The lessons in order, each with its steps."""
