"""What writing IS: how much a trained model writes, and how it chooses. Bounds and help lie on its fields."""

from core.settings import Config, setting


class GenerationConfig(Config):
    """How a trained model writes: how much, and how it chooses each next token."""

    max_new_tokens: int = setting(
        300,
        "How many tokens to write.",
        label="Length",
        low=1,
        high=5000,
        unit="tokens",
    )
    temperature: float = setting(
        0.8,
        "How freely to choose: near 0 always the likeliest token, 1 as the model believes, above 1 wilder.",
        label="Temperature",
        low=0.0,
        high=2.0,
        step=0.05,
    )
    top_k: int = setting(
        0,
        "Choose among the k likeliest tokens only (Fan 2018). 0 leaves all in.",
        label="Top k",
        low=0,
        high=200,
        unit="tokens",
    )
    top_p: float = setting(
        1.0,
        "Sample from the smallest set of most likely tokens whose probabilities sum to p (nucleus sampling, Holtzman "
        "2019). 1 leaves all in.",
        label="Top p",
        low=0.01,
        high=1.0,
        step=0.01,
    )
    min_p: float = setting(
        0.0,
        "Leave out tokens less likely than this share of the most likely token's probability (Nguyen 2024). 0 leaves "
        "all in.",
        label="Min p",
        low=0.0,
        high=1.0,
        step=0.01,
    )
    evict_fraction: float = setting(
        0.25,
        "Fraction of the context dropped when it is full: the oldest tokens go at once, and the rest is read again. "
        "Text past the context therefore differs from nanoGPT's plain crop, which drops one token for each new one; 0 "
        "is that crop and many times slower.",
        label="Context dropped when full",
        low=0.0,
        high=0.75,
        step=0.05,
        advanced=True,
    )
    seed: int = setting(
        1337,
        "The number the dice are rolled from: the same seed writes the same text.",
        label="Seed",
        low=0,
        high=2**31 - 1,
        advanced=True,
    )
