"""The settings of generation. Bounds, units and help texts are defined on the fields only."""

from typing import Literal

from core.settings import Config, basic_setting, setting


class GenerationConfig(Config):
    """Settings of generation: the length, and how each next token is sampled."""

    max_new_tokens: int = basic_setting(
        300,
        "Number of tokens to generate.",
        label="Length",
        bounds=(1, 5000),
        unit="tokens",
    )
    temperature: float = basic_setting(
        0.8,
        "Divides the logits: 0 always takes the most likely token; below 1 sharpens the distribution, above 1 flattens "
        "it.",
        bounds=(0.0, 2.0),
        step=0.05,
    )
    top_k: int = basic_setting(
        0,
        "Sample from the k most likely tokens (Fan 2018). 0: from all.",
        bounds=(0, 200),
        unit="tokens",
    )
    top_p: float = basic_setting(
        1.0,
        "Sample from the smallest set of most likely tokens whose probabilities sum to p (nucleus sampling, Holtzman "
        "2019). 1: from all.",
        bounds=(0.01, 1.0),
        step=0.01,
    )
    min_p: float = basic_setting(
        0.0,
        "Exclude tokens less likely than this fraction of the most likely token's probability (Nguyen 2024). 0: none.",
        bounds=(0.0, 1.0),
        step=0.01,
    )
    evict_fraction: float = setting(
        0.25,
        "Fraction of the context dropped when it is full, oldest first. 0 drops one token at a time, like nanoGPT: "
        "the model sees more tokens, but is many times slower.",
        label="Context dropped when full",
        bounds=(0.0, 0.75),
        step=0.05,
    )
    weights: Literal["float32", "int8"] = setting(
        "float32",
        "float32: as trained. int8: matrices rounded to whole numbers, about twice as fast for large models; the loss "
        "changes by about 0.001 nats.",
        label="Weights",
    )
    seed: int = setting(
        1337,
        "Random seed: the same seed generates the same text.",
        label="Random seed",
        bounds=(0, 2**31 - 1),
    )
