"""Presets: functions that return a whole RunConfig. The first is the default."""

from core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from core.errors import ConfigError


def gpt_quick() -> RunConfig:
    """A first GPT: readable words within a minute, on a laptop.

    Rotary positions let it take the large steps that make it quick.
    """
    return RunConfig(
        preset="gpt-quick",
        model=ModelConfig(n_layer=2, n_head=4, n_embd=64, block_size=32, position="rope"),
        train=TrainConfig(
            steps=2000,
            batch_size=32,
            learning_rate=6e-3,
            min_learning_rate=6e-4,
            warmup_steps=50,
            eval_interval=50,
            eval_windows=128,
            checkpoint_interval=250,
        ),
    )


def gpt_fast() -> RunConfig:
    """The same text learned faster: a modern recipe.

    Every part of it is a switch: Muon with normalized rows for the matrices of the blocks, rotary positions, a look one
    token back, normalized queries and keys, squared ReLU, RMS norm, zero initialization, bigram counts, and a learning
    rate that decays linearly to zero.
    """
    return RunConfig(
        preset="gpt-fast",
        model=ModelConfig(
            n_layer=2,
            n_head=2,
            n_embd=96,
            block_size=64,
            position="rope",
            norm="rms",
            activation="relu2",
            qk_norm=True,
            zero_init=True,
            bigram_start=True,
            token_shift=True,
        ),
        train=TrainConfig(
            steps=380,
            batch_size=16,
            optimizer="muon",
            learning_rate=1.5e-2,
            muon_learning_rate=0.025,
            muon_momentum=0.85,
            muon_normalize_rows=True,
            beta2=0.95,
            grad_clip=0.0,
            weight_decay=0.0,
            schedule="linear",
            min_learning_rate=0.0,
            warmup_steps=10,
            eval_interval=45,
            eval_windows=64,
            sample_interval=90,
            checkpoint_interval=200,
        ),
    )


def gpt_night() -> RunConfig:
    """The lowest loss that ten minutes of two cores can reach.

    `core.training.timed_recipe` for Tiny Shakespeare: it is read nearly four times, the most without dropout.
    """
    return gpt_fast().replace(
        {
            "preset": "gpt-night",
            "model.n_layer": 3,
            "model.n_head": 3,
            "model.n_embd": 192,
            "model.block_size": 128,
            "train.steps": 1340,
            "train.batch_size": 22,
            "train.warmup_steps": 27,
            "train.eval_interval": 134,
            "train.eval_windows": 296,
            "train.sample_interval": 134,
            "train.checkpoint_interval": 268,
        }
    )


# What the presets of tasks have in place of `gpt_fast`'s, which are chosen for plain text.
_OF_TASKS = {
    "model.n_head": 4,
    "model.token_shift": False,
    "train.muon_learning_rate": 0.015,
    "train.muon_momentum": 0.9,
    "train.muon_normalize_rows": False,
    "train.grad_clip": 1.0,
}


def bigram() -> RunConfig:
    """The lecture's first model: a table that sees one character."""
    return RunConfig(
        preset="bigram",
        model=ModelConfig(kind="bigram", block_size=8),
        train=TrainConfig(
            steps=10_000,
            batch_size=32,
            learning_rate=1e-2,
            min_learning_rate=1e-3,
            warmup_steps=0,
            weight_decay=0.0,
            beta2=0.999,
            grad_clip=0.0,
            log_interval=50,
            eval_interval=500,
            eval_windows=2000,
            sample_interval=500,
            checkpoint_interval=5000,
        ),
    )


def gpt_tiny() -> RunConfig:
    """The recipe of nanoGPT for a CPU: 4 layers, 128 wide."""
    return RunConfig(
        preset="gpt-tiny",
        model=ModelConfig(n_layer=4, n_head=4, n_embd=128, block_size=64),
        train=TrainConfig(steps=2000, batch_size=12, learning_rate=1.5e-3, min_learning_rate=1.5e-4),
    )


def gpt_lecture() -> RunConfig:
    """The lecture's full GPT, 384 wide: for a GPU or a long night."""
    return RunConfig(
        preset="gpt-lecture",
        model=ModelConfig(n_layer=6, n_head=6, n_embd=384, block_size=256, dropout=0.2),
        train=TrainConfig(
            steps=5000,
            batch_size=64,
            eval_interval=250,
            eval_windows=640,
            sample_interval=250,
        ),
    )


def gpt2() -> RunConfig:
    """The shape of GPT-2's smallest model: for a GPU."""
    return RunConfig(
        preset="gpt2",
        model=ModelConfig(n_layer=12, n_head=12, n_embd=768, block_size=1024, bias=True, activation="gelu_tanh"),
        train=TrainConfig(
            steps=5000,
            batch_size=8,
            learning_rate=6e-4,
            min_learning_rate=6e-5,
            beta2=0.95,
            warmup_steps=200,
            eval_interval=250,
            eval_windows=64,
            sample_interval=250,
        ),
    )


def induction() -> RunConfig:
    """Two attention layers learn to copy: induction heads.

    The loss falls when such a head emerges. It finds where a token occurred before and predicts what followed it there
    (Olsson 2022).
    """
    return gpt_fast().replace(
        _OF_TASKS
        | {
            "preset": "induction",
            "data.corpus": "repeats",
            "model.n_embd": 64,
            "model.block_size": 49,  # the longest problem
            "model.feed_forward": False,
            "model.activation": "gelu",
            "model.bigram_start": False,
            "train.steps": 600,
            "train.muon_learning_rate": 0.01,
            "train.eval_interval": 10,
            "train.eval_windows": 128,
            "train.sample_interval": 20,
            "train.snapshots": 40,
        }
    )


def addition() -> RunConfig:
    """Adds numbers below 1,000 that it never trained on.

    With `data.corpus` addition-backwards the same model writes the last digit first.
    """
    return gpt_fast().replace(
        _OF_TASKS
        | {
            "preset": "addition",
            "data.corpus": "addition",
            "model.block_size": 24,  # nearly two problems
            "train.steps": 1500,
            "train.batch_size": 64,
            "train.eval_interval": 50,
            "train.eval_windows": 240,
            "train.sample_interval": 50,
        }
    )


def modular_addition() -> RunConfig:
    """Grokking: memorizes sums modulo 59, later generalizes.

    Grokking was found by Power (2022); that weight decay brings it about, and what circle the model computes on, by
    Nanda (2023). The context is one problem. Of five seeds all grok: training problems are right from step 550 to 1,450
    on, 99% of the others from step 1,200 to 2,850 (median 1,650), after 24 to 86 seconds of one core.
    """
    return RunConfig(
        preset="modular-addition",
        data=DataConfig(corpus="modular-addition", val_fraction=0.5),
        model=ModelConfig(n_layer=1, n_head=4, n_embd=64, block_size=5, tie_weights=False),
        train=TrainConfig(
            steps=4000,
            batch_size=512,
            learning_rate=5e-3,
            min_learning_rate=5e-4,
            warmup_steps=10,
            weight_decay=1.0,
            beta2=0.98,
            grad_clip=0.0,
            eval_interval=50,
            eval_windows=1740,  # nearly all problems of each part
            sample_interval=100,
            checkpoint_interval=1000,
            snapshots=60,
        ),
    )


PRESETS = {
    make().preset: make
    for make in (
        gpt_quick,
        gpt_fast,
        gpt_night,
        bigram,
        gpt_tiny,
        gpt_lecture,
        gpt2,
        addition,
        modular_addition,
        induction,
    )
}


def preset(name: str) -> RunConfig:
    """Return the preset of that name; raises ConfigError that lists the known ones."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset called {name!r}. The presets are: {', '.join(PRESETS)}.")
    return PRESETS[name]()
