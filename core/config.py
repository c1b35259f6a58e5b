"""The settings of a run: model, data, training. Bounds, units and help texts are defined on the fields only."""

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from core.settings import Config, Setting, basic_setting, fields_of, setting, value_at

GROUPS = ("Architecture", "Attention", "Training", "Evaluation", "Machine")  # of settings, in the order of a form


class ModelConfig(Config):
    """Settings of the model: its shape and the variants of its parts."""

    group = "Architecture"
    used_when: ClassVar = {"model.kind": ("gpt",)}

    kind: Literal["gpt", "bigram"] = basic_setting(
        "gpt",
        "gpt: a decoder-only transformer. bigram: one table that predicts the next token from the last one alone.",
        label="Model",
        used_when={},
    )
    n_layer: int = basic_setting(
        4,
        "Number of blocks. Each has attention (tokens exchange information), then a feed-forward layer.",
        label="Layers",
        bounds=(1, 48),
    )
    n_head: int = basic_setting(
        4,
        "Attention heads in each block, each with its own attention pattern. Must divide the width.",
        label="Heads",
        bounds=(1, 64),
        divides="model.n_embd",
    )
    n_embd: int = basic_setting(
        128,
        "Width: the size of each token's vector inside the model.",
        label="Width",
        bounds=(2, 2048),
        step=8,
        unit="numbers/token",
    )
    block_size: int = basic_setting(
        64,
        "Context: how many tokens the model can attend to. The cost of attention grows with its square.",
        label="Context",
        bounds=(2, 2048),
        unit="tokens",
        used_when={},
    )
    dropout: float = basic_setting(
        0.0,
        "Probability that a number is set to zero in training, so that no part relies on another (Srivastava 2014).",
        bounds=(0.0, 0.9),
        step=0.05,
        group="Training",
    )
    bias: bool = setting(
        False,
        "Whether linear layers and norms add a constant, as in GPT-2. Without it, training is slightly faster.",
        label="Biases",
    )
    tie_weights: bool = setting(
        True,
        "Use one table for the token embeddings and for the logits (Press and Wolf 2017).",
        label="Tie embeddings",
    )
    causal: bool = setting(
        True,
        "Hide later tokens from attention. Without the mask the model sees the token it should predict, and learns "
        "nothing.",
        label="Causal mask",
        group="Attention",
    )
    attention_scale: bool = setting(
        True,
        "Divide attention scores by the square root of the head size, so that softmax does not saturate at the "
        "start (Vaswani 2017, section 3.2.1).",
        label="Scale attention",
        group="Attention",
    )
    softmax_over: Literal["keys", "queries"] = setting(
        "keys",
        "Axis of the softmax in attention. keys: the weights of each query sum to 1. queries: a well-known mistake, "
        "in which the sum contains later tokens.",
        group="Attention",
    )
    residual: bool = setting(
        True,
        "Add the output of each sublayer to its input instead of replacing it, so that gradients reach the first "
        "block (He 2015).",
        label="Residual connections",
    )
    feed_forward: bool = setting(
        True,
        "Whether each block has a feed-forward layer after attention.",
        label="Feed-forward layer",
    )
    norm: Literal["layer", "rms", "none"] = setting(
        "layer",
        "Normalization of each token's vector before each sublayer. layer: GPT-2's. rms: without the mean (Zhang "
        "2019).",
        label="Normalization",
    )
    position: Literal["learned", "sinusoidal", "rope", "none"] = setting(
        "learned",
        "How the model knows the position of a token. learned: a table (GPT-2). sinusoidal: fixed waves (Vaswani "
        "2017). rope: rotated queries and keys (Su 2021). none: it does not.",
        label="Positions",
        group="Attention",
    )
    activation: Literal["relu", "gelu", "gelu_tanh", "swiglu", "relu2"] = setting(
        "gelu",
        "Nonlinearity of the feed-forward layer. relu: the lecture's. gelu: smooth (Hendrycks 2016). gelu_tanh: "
        "GPT-2's approximation of gelu. swiglu: gated (Shazeer 2020). relu2: relu squared (Primer, So 2021).",
        label="Activation function",
        used_when={"model.kind": ("gpt",), "model.feed_forward": (True,)},
    )
    qk_norm: bool = setting(
        False,
        "Normalize every query and key in each head, so that a high learning rate stays stable (Henry 2020).",
        label="Normalize queries and keys",
        group="Attention",
    )
    zero_init: bool = setting(
        False,
        "Initialize the output of each sublayer at zero, so that each block first passes its input on unchanged "
        "(Fixup, Zhang 2019; ReZero, Bachlechner 2020). Needs residual connections.",
        label="Zero initialization",
    )
    init_std: float = setting(
        0.02,
        "Standard deviation of the initial weights. At GPT-2's 0.02 all tokens are about equally likely at first; "
        "with far larger weights the first predictions are confident and wrong (Glorot 2010).",
        label="Initial weight spread",
        bounds=(1e-4, 2.0),
        log=True,
    )
    bigram_start: bool = setting(
        False,
        "Add a table of log bigram probabilities, counted in the training text, to the logits, and train it too.",
        label="Start from bigram counts",
    )

    @property
    def sees_ahead(self) -> bool:
        """Return whether later tokens change what a GPT computes at one token, so that nothing can be cached."""
        return not self.causal or self.softmax_over == "queries"

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.kind == "bigram":
            return self
        head_size, rest = divmod(self.n_embd, self.n_head)
        if rest:
            raise ValueError(f"n_embd {self.n_embd} cannot be shared equally among n_head {self.n_head} heads")
        if self.position == "rope" and head_size % 2:
            raise ValueError(f"rope turns pairs of numbers, so n_embd / n_head must be even, not {head_size}")
        if self.position == "sinusoidal" and self.n_embd % 2:
            raise ValueError(
                f"sinusoidal positions are pairs of a sine and a cosine, so n_embd must be even, not {self.n_embd}"
            )
        if self.zero_init and not self.residual:
            raise ValueError("zero_init needs residual: blocks that start at zero would let nothing through without it")
        return self


class DataConfig(Config):
    """Settings of the text, its tokenizer and its split."""

    group = "Architecture"

    corpus: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = basic_setting(
        "shakespeare",
        "Text to train on, by its name in the list of texts.",
        label="Text",
    )
    tokenizer: Literal["char", "byte", "bpe"] = basic_setting(
        "char",
        "How text becomes tokens. char: one for each distinct character. byte: the 256 bytes of UTF-8. bpe: frequent "
        "parts of words, found in the text by byte-pair encoding (Sennrich 2016).",
    )
    vocab_size: int = basic_setting(
        512,
        "Number of tokens: 256 bytes and one for each merge of the most frequent pair. More tokens make the text "
        "shorter and the model larger.",
        label="Vocabulary size",
        bounds=(260, 32_768),
        unit="tokens",
        used_when={"data.tokenizer": ("bpe",)},
    )
    val_fraction: float = setting(
        0.1,
        "Fraction of the text, at its end, used as the validation set and never trained on.",
        label="Validation fraction",
        bounds=(0.01, 0.5),
        step=0.01,
        group="Evaluation",
    )


def _steps(default: int, help: str, *, label: str, bounds: tuple[int, int] = (1, 100_000), **more: Any) -> Any:
    return setting(default, help, label=label, bounds=bounds, unit="steps", **more)


def _decay_rate(default: float, of: str, *, label: str = "", most: float = 0.999) -> Any:
    return setting(default, f"Decay rate of {of}.", label=label, bounds=(0.0, most), step=0.001)


_DECAYS = {"train.schedule": ("cosine", "linear")}


class TrainConfig(Config):
    """Settings of training, evaluation and saving."""

    group = "Training"

    steps: int = basic_setting(
        2000,
        "Number of updates of the weights, one batch each.",
        bounds=(1, 1_000_000),
        unit="steps",
        log=True,
    )
    batch_size: int = basic_setting(
        12,
        "Sequences in the batch of one step. A larger batch gives a less noisy gradient and takes longer.",
        bounds=(1, 512),
        unit="sequences",
    )
    learning_rate: float = basic_setting(
        1e-3,
        "Size of each update of the weights, at the peak of the schedule.",
        bounds=(1e-6, 1.0),
        log=True,
    )
    min_learning_rate: float = setting(
        1e-4,
        "Learning rate at the end of the decay.",
        label="Final learning rate",
        bounds=(0.0, 1.0),
        log=True,
        used_when=_DECAYS,
    )
    warmup_steps: int = _steps(
        100,
        "Steps over which the learning rate rises from zero, while the optimizer's averages fill.",
        label="Warm-up",
        bounds=(0, 100_000),
    )
    schedule: Literal["cosine", "linear", "constant"] = setting(
        "cosine",
        "How the learning rate falls after warm-up: along half a cosine (Loshchilov 2016), linearly (Defazio 2023), "
        "or not at all.",
    )
    decay_steps: int = _steps(
        0,
        "Step at which the learning rate reaches its final value, where it stays. 0: the last step.",
        label="Decay until",
        bounds=(0, 1_000_000),
        used_when=_DECAYS,
    )
    # No slider: only a restart of the schedule (`core.live_settings`) writes it.
    schedule_start: int = Field(0, ge=0, le=1_000_000, description="The step that warm-up and decay are counted from.")
    optimizer: Literal["adamw", "muon"] = setting(
        "adamw",
        "adamw: scales the update of each number by its gradient's history (Loshchilov 2017). muon: orthogonalizes "
        "the updates of the blocks' matrices (Jordan 2024), with AdamW for the other parameters.",
    )
    muon_learning_rate: float = setting(
        0.02,
        "Learning rate of the matrices that Muon updates, at the peak; it follows the same schedule.",
        bounds=(1e-6, 1.0),
        log=True,
    )
    muon_momentum: float = _decay_rate(0.95, "Muon's average of gradients")
    weight_decay: float = setting(
        0.1,
        "Pull of the weight matrices toward zero at each step; biases and norms are excluded (Loshchilov 2017).",
        bounds=(0.0, 1.0),
        step=0.01,
    )
    beta1: float = _decay_rate(0.9, "AdamW's average of gradients", label="Beta 1")
    beta2: float = _decay_rate(0.99, "AdamW's average of squared gradients", label="Beta 2", most=0.9999)
    grad_clip: float = setting(
        1.0,
        "Maximum norm of the gradient; a longer one is scaled down to it. 0: no clipping.",
        label="Gradient clipping",
        bounds=(0.0, 100.0),
        step=0.1,
    )
    eval_interval: int = _steps(
        100,
        "Steps between two evaluations on the training and validation sets.",
        label="Evaluate every",
        group="Evaluation",
    )
    eval_windows: int = setting(
        240,
        "Windows of each set in an evaluation, always the same ones.",
        label="Evaluation windows",
        bounds=(1, 100_000),
        unit="windows",
        group="Evaluation",
    )
    log_interval: int = _steps(
        5, "Steps between two points of the training curve.", label="Log every", group="Evaluation", bounds=(1, 10_000)
    )
    sample_interval: int = _steps(
        100, "Steps between two texts generated during training.", label="Sample every", group="Evaluation"
    )
    sample_length: int = setting(
        160, "Length of the generated texts.", bounds=(1, 2000), unit="tokens", group="Evaluation"
    )
    sample_temperature: float = setting(
        0.8,
        "Sampling temperature of these texts: 0 always takes the most likely token.",
        bounds=(0.0, 2.0),
        step=0.05,
        group="Evaluation",
    )
    checkpoint_interval: int = _steps(
        500,
        "Steps between two checkpoints, from which an interrupted run resumes.",
        label="Checkpoint every",
        group="Machine",
    )
    snapshots: int = setting(
        24,
        "Number of weight snapshots, more frequent at the start. 0 saves only the last weights.",
        bounds=(0, 200),
        group="Machine",
    )
    seed: int = setting(
        1337,
        "Random seed: the same seed gives the same run.",
        label="Random seed",
        bounds=(0, 2**31 - 1),
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = setting(
        "auto",
        "Device to train on. auto takes an NVIDIA GPU, else Apple's, else the processor.",
        group="Machine",
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "Number format of matrix products. bfloat16 has a third of float32's digits and is faster on some processors "
        "and models; auto takes the faster one, measured on this machine.",
        group="Machine",
    )
    compile: Literal["auto", "on", "off"] = setting(
        "auto",
        "Compile the model with PyTorch: a minute of waiting, then faster steps. auto compiles on an NVIDIA GPU only.",
        group="Machine",
    )


class RunConfig(Config):
    """All settings of one run; `core.presets` has functions that return these."""

    preset: str = Field("", max_length=64, description="The preset that this config started from, if any.")
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()


def optimizer_of(path: str) -> str | None:
    """Return the only optimizer that uses a setting: `muon` for `train.muon_momentum`, None for a shared setting."""
    name = path.removeprefix("train.").partition("_")[0]
    return name if name in get_args(TrainConfig.model_fields["optimizer"].annotation) else None


def used_settings(config: RunConfig) -> dict[str, Setting]:
    """Return the settings that have an effect, by path: a bigram has no layers, AdamW no settings of Muon's."""

    def used(path: str, known: Setting) -> bool:
        chosen = all(value_at(config, other) in values for other, values in known.used_when.items())
        return chosen and optimizer_of(path) in (None, config.train.optimizer)

    return {path: known for path, known in fields_of(RunConfig) if used(path, known)}
