"""The order of the lessons and of their steps: pages, notebooks and tests all read it here."""

LESSONS: dict[str, tuple[str, ...]] = {
    "bigram": (
        "text",
        "numbers",
        "split",
        "batch",
        "table",
        "loss",
        "gradient",
        "training",
        "writing",
        "context",
    ),
    "gpt": (),
    "break": (
        "mask",
        "axis",
        "scaling",
        "residual",
        "norm",
        "positions",
        "start",
        "rate",
        "tiny",
        "planted",
        "letter",
    ),
}
