"""The settings of a run: model, data, training. Bounds, units and help texts are defined on the fields only."""

from functools import partial
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from core.model_config import ModelConfig
from core.settings import Config, Setting, basic_setting, fields_of, setting, value_at

GROUPS = ("Architecture", "Attention", "Training", "Evaluation", "Machine")  # of settings, in the order shown in forms


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


_evaluation = partial(setting, group="Evaluation")
_machine = partial(setting, group="Machine")
_rate = partial(setting, log=True, is_rate=True)


def _decay_rate(default: float, of: str, *, label: str = "", most: float = 0.999) -> Any:
    return setting(default, f"Decay rate of {of}.", label=label, bounds=(0.0, most), step=0.001)


_DECAYS = {"train.schedule": ("cosine", "linear", "wsd")}


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
    gradient_accumulation: int = _machine(
        1,
        "Number of parts in which a batch is computed, one after the other, adding up their gradients: more parts "
        "take less memory. The loss is the same.",
        bounds=(1, 512),
        log=True,
    )
    processes: int = _machine(
        1,
        "Processes that train the model together, each on an equal share of every batch. Must divide the batch size.",
        bounds=(1, 64),
        divides="train.batch_size",
    )
    learning_rate: float = _rate(
        1e-3,
        "Size of each update of the weights, at the peak of the schedule.",
        bounds=(1e-6, 1.0),
        advanced=False,
    )
    min_learning_rate: float = _rate(
        1e-4,
        "Learning rate at the end of the decay.",
        label="Final learning rate",
        bounds=(0.0, 1.0),
        used_when=_DECAYS,
    )
    warmup_steps: int = _steps(
        100,
        "Steps over which the learning rate rises from zero, while the optimizer's averages fill.",
        label="Warm-up",
        bounds=(0, 100_000),
    )
    schedule: Literal["cosine", "linear", "wsd", "constant"] = setting(
        "cosine",
        "How the learning rate falls after warm-up: along half a cosine (Loshchilov 2016), linearly (Defazio 2023), "
        "linearly and only at the end (wsd: warmup-stable-decay, Hu 2024), or not at all.",
    )
    decay_share: float = setting(
        0.2,
        "Share of the schedule, at its end, over which the learning rate falls; before that it stays at its peak "
        "(Hägele 2024).",
        label="Decay share",
        bounds=(0.01, 1.0),
        step=0.01,
        used_when={"train.schedule": ("wsd",)},
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
    muon_learning_rate: float = _rate(
        0.02,
        "Peak learning rate of the matrices that Muon updates; it follows the same schedule.",
        bounds=(1e-6, 1.0),
    )
    muon_momentum: float = _decay_rate(0.95, "Muon's average of gradients")
    muon_normalize_rows: bool = setting(
        False,
        "Divide each row of Muon's update by its average size, so that all outputs change about equally (NorMuon, Li "
        "2025).",
        label="Normalize Muon's rows",
    )
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
    label_smoothing: float = setting(
        0.0,
        "Share of each target's probability that is spread evenly over all tokens (Szegedy 2015). Losses are shown "
        "without it.",
        bounds=(0.0, 0.5),
        step=0.01,
    )
    z_loss: float = setting(
        0.0,
        "Weight of the squared logarithm of softmax's denominator in the loss, so that logits stay small (Chowdhery "
        "2022, which uses 1e-4). Losses are shown without it.",
        label="Z-loss",
        bounds=(0.0, 0.1),
        log=True,
    )
    eval_interval: int = _steps(
        100,
        "Steps between two evaluations on the training and validation sets.",
        label="Evaluate every",
        group="Evaluation",
    )
    eval_windows: int = _evaluation(
        240,
        "Windows of each set used in an evaluation, always the same ones.",
        label="Evaluation windows",
        bounds=(1, 100_000),
        unit="windows",
    )
    log_interval: int = _steps(
        5, "Steps between two points of the training curve.", label="Log every", group="Evaluation", bounds=(1, 10_000)
    )
    sample_interval: int = _steps(
        100, "Steps between two texts generated during training.", label="Sample every", group="Evaluation"
    )
    sample_length: int = _evaluation(160, "Length of the generated texts.", bounds=(1, 2000), unit="tokens")
    sample_temperature: float = _evaluation(
        0.8,
        "Sampling temperature of these texts: 0 always takes the most likely token.",
        bounds=(0.0, 2.0),
        step=0.05,
    )
    checkpoint_interval: int = _steps(
        500,
        "Steps between two checkpoints, from which an interrupted run resumes.",
        label="Checkpoint every",
        group="Machine",
    )
    snapshots: int = _machine(
        24,
        "Number of weight snapshots, more frequent at the start. 0 saves only the last weights.",
        bounds=(0, 200),
    )
    seed: int = setting(
        1337,
        "Random seed: the same seed gives the same run.",
        label="Random seed",
        bounds=(0, 2**31 - 1),
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = _machine(
        "auto",
        "Device to train on. auto uses an NVIDIA GPU, else Apple's, else the processor.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = _machine(
        "auto",
        "Number format of matrix products. bfloat16 has a third of float32's digits and is faster on some processors "
        "and models; auto uses the faster one, measured on this machine.",
    )
    compile: Literal["auto", "on", "off"] = _machine(
        "auto",
        "Compile the model with PyTorch: a minute of waiting, then faster steps. auto compiles on an NVIDIA GPU only.",
    )

    @model_validator(mode="after")
    def _processes_share_the_batch(self) -> Self:
        if self.batch_size % self.processes:
            raise ValueError(f"batch_size {self.batch_size} cannot be shared equally among {self.processes} processes")
        return self


class RunConfig(Config):
    """All settings of one run; the functions in `core.presets` return these."""

    preset: str = Field("", max_length=64, description="The preset that this config started from, if any.")
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()


SETTINGS = dict(fields_of(RunConfig))  # every setting of a run, by its dotted path
RATES = [path for path, setting in SETTINGS.items() if setting.is_rate]


def optimizer_of(path: str) -> str | None:
    """Return the only optimizer that uses a setting: `muon` for `train.muon_momentum`, None for a shared setting."""
    name = path.removeprefix("train.").partition("_")[0]
    return name if name in get_args(TrainConfig.model_fields["optimizer"].annotation) else None


def used_settings(config: RunConfig) -> dict[str, Setting]:
    """Return the settings that have an effect, by path: a bigram has no layers, and AdamW ignores Muon's settings."""

    def used(path: str, setting: Setting) -> bool:
        chosen = all(value_at(config, other) in values for other, values in setting.used_when.items())
        return chosen and optimizer_of(path) in (None, config.train.optimizer)

    return {path: setting for path, setting in SETTINGS.items() if used(path, setting)}
