"""What a run IS: its model, its text, its training. Every bound, unit and help text lies on its field, here only."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from core.settings import Config, fields_of, setting, value_at


class ModelConfig(Config):
    """The shape of a model, and every part of it that a learner may switch."""

    kind: Literal["gpt", "bigram"] = setting(
        "gpt",
        "gpt: a decoder-only transformer. bigram: one table that guesses the next token from the last one alone.",
        label="Model",
    )
    n_layer: int = setting(
        4,
        "Blocks stacked on each other; each lets tokens talk once and then think once.",
        label="Layers",
        low=1,
        high=48,
    )
    n_head: int = setting(
        4,
        "Attention heads in each block: independent ways of looking back, side by side. Must divide the width.",
        label="Heads",
        low=1,
        high=64,
    )
    n_embd: int = setting(
        128,
        "Width: how many numbers describe one token inside the model.",
        label="Width",
        low=2,
        high=2048,
        step=8,
        unit="numbers a token",
    )
    block_size: int = setting(
        64,
        "Context: how many tokens back the model can see. The cost of attention grows with its square.",
        label="Context",
        low=2,
        high=2048,
        unit="tokens",
    )
    dropout: float = setting(
        0.0,
        "Share of numbers blanked at random while training, so that no part relies on one other (Srivastava 2014).",
        label="Dropout",
        low=0.0,
        high=0.9,
        step=0.05,
    )
    bias: bool = setting(
        False,
        "Whether linear layers and norms add a constant. GPT-2 does; leaving it out is a bit faster.",
        label="Biases",
        advanced=True,
    )
    tie_weights: bool = setting(
        True,
        "Use one table both to read tokens in and to score them at the end (Press and Wolf 2017).",
        label="Tie embeddings",
        advanced=True,
    )
    causal: bool = setting(
        True,
        "The mask that hides the future. Without it the model reads the answer off the page and learns nothing.",
        label="Causal mask",
        advanced=True,
    )
    attention_scale: bool = setting(
        True,
        "Divide query-key products by the square root of the head size, so that softmax does not saturate at the "
        "start (Vaswani 2017, section 3.2.1).",
        label="Scale attention",
        advanced=True,
    )
    softmax_over: Literal["keys", "queries"] = setting(
        "keys",
        "Over which side of the square of attention the softmax runs. keys: each token shares its own attention out "
        "among those that it may look at. queries: a well-known slip, in which tokens compete for being looked at and "
        "the sum already contains the future.",
        label="Softmax over",
        advanced=True,
    )
    residual: bool = setting(
        True,
        "Add each sublayer's result to its input instead of replacing it, so gradients reach the bottom (He 2015).",
        label="Residual connections",
        advanced=True,
    )
    feed_forward: bool = setting(
        True,
        "Let each token think about what it has gathered, by itself, after every round of talk. Without it a block "
        "only attends.",
        label="Feed-forward",
        advanced=True,
    )
    norm: Literal["layer", "rms", "none"] = setting(
        "layer",
        "Rescale each token's numbers before every sublayer. layer: GPT-2's. rms: without the mean (Zhang 2019).",
        label="Normalisation",
        advanced=True,
    )
    position: Literal["learned", "sinusoidal", "rope", "none"] = setting(
        "learned",
        "How the model knows where a token stands. learned: a table (GPT-2). sinusoidal: fixed waves "
        "(Vaswani 2017). rope: rotated queries and keys (Su 2021). none: it cannot tell.",
        label="Positions",
        advanced=True,
    )
    activation: Literal["relu", "gelu", "gelu_tanh", "swiglu", "relu2"] = setting(
        "gelu",
        "The bend between the feed-forward layers. relu: the lecture's. gelu: a smooth one (Hendrycks 2016). "
        "gelu_tanh: GPT-2's approximation of it, slower on a processor. swiglu: gated (Shazeer 2020). relu2: relu, "
        "squared (Primer, So 2021).",
        label="Activation",
        advanced=True,
    )
    qk_norm: bool = setting(
        False,
        "Bring every query and key to the same length, head by head, so that attention learns by direction alone and "
        "large steps stay safe (Henry 2020).",
        label="Normalise queries and keys",
        advanced=True,
    )
    zero_init: bool = setting(
        False,
        "Start what every sublayer writes at zero: at first each block hands its input through, and then grows into "
        "what helps (Fixup, Zhang 2019; ReZero, Bachlechner 2020). Needs residual connections.",
        label="Start blocks at zero",
        advanced=True,
    )
    init_std: float = setting(
        0.02,
        "How far from zero the weights begin, as the spread of a normal distribution. At GPT-2's 0.02 every next token "
        "is nearly equally likely at first; far larger, the model begins sure of nonsense (Glorot 2010).",
        label="Spread of first weights",
        low=1e-4,
        high=2.0,
        log=True,
        advanced=True,
    )
    bigram_start: bool = setting(
        False,
        "Start from counting: a table of which token follows which in the training text is added to the scores, and "
        "learned further. The blocks need only learn what pairs cannot tell.",
        label="Start from counted pairs",
        advanced=True,
    )

    @property
    def sees_ahead(self) -> bool:
        """Whether what a GPT computes at one token changes when more follows, so that nothing can be remembered."""
        return not self.causal or self.softmax_over == "queries"

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.kind == "gpt" and self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} cannot be shared equally among n_head {self.n_head} heads")
        if self.kind == "gpt" and self.position == "rope" and (self.n_embd // self.n_head) % 2:
            raise ValueError(
                f"rope turns pairs of numbers, so n_embd / n_head must be even, not {self.n_embd // self.n_head}"
            )
        if self.kind == "gpt" and self.position == "sinusoidal" and self.n_embd % 2:
            raise ValueError(
                f"sinusoidal positions are pairs of a sine and a cosine, so n_embd must be even, not {self.n_embd}"
            )
        if self.kind == "gpt" and self.zero_init and not self.residual:
            raise ValueError("zero_init needs residual: blocks that start at zero would let nothing through without it")
        return self


CorpusName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class DataConfig(Config):
    """Which text, cut how."""

    corpus: CorpusName = setting(
        "shakespeare",
        "The text to learn from, by its name in the catalogue.",
        label="Text",
    )
    tokenizer: Literal["char", "bpe"] = setting(
        "char",
        "How text becomes numbers. char: one number for every distinct character. bpe: GPT-2's pieces of words, which "
        "come with an imported model.",
        label="Tokenizer",
        advanced=True,
    )
    val_fraction: float = setting(
        0.1,
        "Share of the text, at its end, kept aside to measure on and never trained on.",
        label="Kept for validation",
        low=0.01,
        high=0.5,
        step=0.01,
        advanced=True,
    )


class TrainConfig(Config):
    """How the model learns, and how often it is measured."""

    steps: int = setting(
        2000,
        "Updates of the weights, one batch each.",
        label="Steps",
        low=1,
        high=1_000_000,
        unit="steps",
        log=True,
    )
    batch_size: int = setting(
        12,
        "Pieces of text looked at in one step. More give a steadier gradient and cost more time.",
        label="Batch",
        low=1,
        high=512,
        unit="pieces",
    )
    learning_rate: float = setting(
        1e-3,
        "How far each step moves the weights, at its highest.",
        label="Learning rate",
        low=1e-6,
        high=1.0,
        log=True,
    )
    min_learning_rate: float = setting(
        1e-4,
        "Where the learning rate ends after its decay.",
        label="Final learning rate",
        low=0.0,
        high=1.0,
        log=True,
        advanced=True,
    )
    warmup_steps: int = setting(
        100,
        "Steps over which the learning rate climbs from zero, while the optimizer gathers its averages.",
        label="Warm-up",
        low=0,
        high=100_000,
        unit="steps",
        advanced=True,
    )
    schedule: Literal["cosine", "linear", "constant"] = setting(
        "cosine",
        "How the learning rate falls after warm-up: along half a cosine wave (Loshchilov 2016), in a straight line "
        "(Defazio 2023), or not at all.",
        label="Schedule",
        advanced=True,
    )
    decay_steps: int = setting(
        0,
        "The step at which the learning rate has fallen to its end, and stays there. 0: the last step.",
        label="Decay until",
        low=0,
        high=1_000_000,
        unit="steps",
        advanced=True,
    )
    # Not a setting of a new run, so it has no slider: only a restart of the schedule (`core.live_settings`) writes it.
    schedule_start: int = Field(0, ge=0, le=1_000_000, description="The step that warm-up and decay are counted from.")
    optimizer: Literal["adamw", "muon"] = setting(
        "adamw",
        "What turns gradients into steps. adamw: every number by itself, scaled by its own history (Loshchilov 2017). "
        "muon: the matrices inside the blocks move in all directions equally far (Jordan 2024); AdamW does the rest.",
        label="Optimizer",
        advanced=True,
    )
    muon_learning_rate: float = setting(
        0.02,
        "How far each step moves the matrices that Muon looks after, at its highest; it follows the same schedule.",
        label="Muon's learning rate",
        low=1e-6,
        high=1.0,
        log=True,
        advanced=True,
    )
    muon_momentum: float = setting(
        0.95,
        "Memory of Muon's average of gradients.",
        label="Muon's momentum",
        low=0.0,
        high=0.999,
        step=0.001,
        advanced=True,
    )
    weight_decay: float = setting(
        0.1,
        "Pull of the weight matrices towards zero at each step; biases and norms are left alone (Loshchilov 2017).",
        label="Weight decay",
        low=0.0,
        high=1.0,
        step=0.01,
        advanced=True,
    )
    beta1: float = setting(
        0.9,
        "Memory of AdamW's average of gradients.",
        label="Beta 1",
        low=0.0,
        high=0.999,
        step=0.001,
        advanced=True,
    )
    beta2: float = setting(
        0.99,
        "Memory of AdamW's average of squared gradients.",
        label="Beta 2",
        low=0.0,
        high=0.9999,
        step=0.001,
        advanced=True,
    )
    grad_clip: float = setting(
        1.0,
        "Longest gradient let through; a longer one is shortened to this norm. 0 lets all through.",
        label="Gradient clip",
        low=0.0,
        high=100.0,
        step=0.1,
        advanced=True,
    )
    eval_interval: int = setting(
        100,
        "Steps between two measurements on text kept aside.",
        label="Measure every",
        low=1,
        high=100_000,
        unit="steps",
        advanced=True,
    )
    eval_windows: int = setting(
        240,
        "Pieces of each split that a measurement looks at, always the same ones.",
        label="Measured pieces",
        low=1,
        high=100_000,
        unit="pieces",
        advanced=True,
    )
    log_interval: int = setting(
        5,
        "Steps between two points of the training curve.",
        label="Log every",
        low=1,
        high=10_000,
        unit="steps",
        advanced=True,
    )
    sample_interval: int = setting(
        100,
        "Steps between two texts written while training.",
        label="Write every",
        low=1,
        high=100_000,
        unit="steps",
        advanced=True,
    )
    sample_length: int = setting(
        160,
        "Length of those texts.",
        label="Text length",
        low=1,
        high=2000,
        unit="tokens",
        advanced=True,
    )
    sample_temperature: float = setting(
        0.8,
        "How freely those texts choose: near 0 always the likeliest token, 1 as the model believes.",
        label="Text temperature",
        low=0.0,
        high=2.0,
        step=0.05,
        advanced=True,
    )
    checkpoint_interval: int = setting(
        500,
        "Steps between two full saves from which an interrupted run goes on.",
        label="Save every",
        low=1,
        high=100_000,
        unit="steps",
        advanced=True,
    )
    snapshots: int = setting(
        24,
        "Weights kept along the way for looking back, closer together early on. 0 keeps only the last.",
        label="Snapshots",
        low=0,
        high=200,
        advanced=True,
    )
    seed: int = setting(
        1337,
        "The number all dice are rolled from: the same seed gives the same run.",
        label="Seed",
        low=0,
        high=2**31 - 1,
        advanced=True,
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = setting(
        "auto",
        "Where to compute. auto takes an NVIDIA GPU, else Apple's, else the processor.",
        label="Device",
        advanced=True,
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "Numbers that matrix products are computed in. bfloat16 has a third of float32's digits and is faster where "
        "the processor knows it, but not for every model. auto takes what this machine was measured to do faster.",
        label="Precision",
        advanced=True,
    )
    compile: Literal["auto", "on", "off"] = setting(
        "auto",
        "Let PyTorch translate the model into kernels made for it: a minute's wait, then faster steps. auto does so on "
        "an NVIDIA GPU only.",
        label="Compile",
        advanced=True,
    )


class RunConfig(Config):
    """One whole run: the model, the text, the training. `core.presets` has functions that return these."""

    preset: str = Field("", max_length=64, description="The preset this config started from, if any.")
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()


def optimizer_of(path: str) -> str | None:
    """Return the only optimizer that uses a setting: `muon` for `train.muon_momentum`, None for a shared setting."""
    name = path.removeprefix("train.").partition("_")[0]
    return name if name in get_args(TrainConfig.model_fields["optimizer"].annotation) else None


def differences(config: RunConfig, base: RunConfig) -> dict[str, Any]:
    """Return the settings of `config` that differ from `base`, by dotted path."""
    return {
        path: value_at(config, path)
        for path, _ in fields_of(RunConfig)
        if value_at(config, path) != value_at(base, path)
    }
