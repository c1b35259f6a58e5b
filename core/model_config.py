"""The settings of a model, a section of `core.config.RunConfig`."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from core.settings import Config, basic_setting, setting

_EXPERTS = {"model.kind": ("gpt",), "model.feed_forward": (True,), "model.mixture_of_experts": (True,)}


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
    n_kv_head: int = setting(
        0,
        "Heads of keys and values, each shared by a group of heads (grouped queries, Ainslie 2023). 1: multi-query "
        "attention (Shazeer 2019). 0: one for each head.",
        label="Key/value heads",
        bounds=(0, 64),
        divides="model.n_head",
        group="Attention",
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
    attention_window: int = setting(
        0,
        "Sliding window: a token attends to itself and the tokens just before it, this many in all (Longformer, "
        "Beltagy 2020). 0: the whole context.",
        label="Attention window",
        bounds=(0, 2048),
        unit="tokens",
        group="Attention",
        used_when={"model.kind": ("gpt",), "model.causal": (True,)},
    )
    attention_sink: bool = setting(
        False,
        "Add 1 to the sum in attention's softmax, as a key with score 0 and value 0 would, so that a head can attend "
        "to nothing (Miller 2023; Xiao 2023).",
        label="Attention sink",
        group="Attention",
        used_when={"model.kind": ("gpt",), "model.softmax_over": ("keys",)},
    )
    gated_attention: bool = setting(
        False,
        "Multiply the output of each head by a gate between 0 and 1, which each token computes from its residual "
        "stream, so that a head can stay closed (Qiu 2025).",
        label="Gated attention",
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
    post_norm: bool = setting(
        False,
        "Normalize after each sublayer and its residual sum, as in the first transformer (Vaswani 2017), not before "
        "it (Xiong 2020). Deep models then need a longer warm-up.",
        label="Post-norm",
        used_when={"model.kind": ("gpt",), "model.norm": ("layer", "rms")},
    )
    position: Literal["learned", "sinusoidal", "rope", "alibi", "none"] = setting(
        "learned",
        "How a token's position enters. learned: a table (GPT-2). sinusoidal: waves (Vaswani 2017). rope: rotation "
        "(Su 2021). alibi: scores fall with distance (Press 2021). none: not at all.",
        label="Positions",
        group="Attention",
    )
    token_shift: bool = setting(
        False,
        "Add the embedding of the previous token, times a learned weight for each channel, to each token's own "
        "(RWKV, Peng 2023; Primer, So 2021).",
        label="Look one token back",
    )
    activation: Literal["relu", "gelu", "gelu_tanh", "swiglu", "relu2"] = setting(
        "gelu",
        "Nonlinearity of the feed-forward layer. relu: the lecture's. gelu: smooth (Hendrycks 2016). gelu_tanh: "
        "GPT-2's approximation of gelu. swiglu: gated (Shazeer 2020). relu2: relu squared (Primer, So 2021).",
        label="Activation function",
        used_when={"model.kind": ("gpt",), "model.feed_forward": (True,)},
    )
    mixture_of_experts: bool = setting(
        False,
        "Replace each feed-forward layer with several (experts); a router chooses a few of them for each token "
        "(Shazeer 2017).",
        used_when={"model.kind": ("gpt",), "model.feed_forward": (True,)},
    )
    n_expert: int = setting(
        4,
        "Experts in each block, each as large as the feed-forward layer would be.",
        label="Experts",
        bounds=(1, 16),
        used_when=_EXPERTS,
    )
    n_expert_active: int = setting(
        2,
        "Experts that each token is sent to; at most as many as there are.",
        label="Active experts",
        bounds=(1, 16),
        used_when=_EXPERTS,
    )
    expert_balance: float = setting(
        0.01,
        "Weight in the loss of how unevenly tokens are sent to the experts (Switch, Fedus 2021). Losses are shown "
        "without it.",
        bounds=(0.0, 1.0),
        log=True,
        used_when=_EXPERTS,
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
    def kv_heads(self) -> int:
        """Return the number of key/value heads in each block; each serves n_head / kv_heads heads."""
        return self.n_kv_head or self.n_head

    def kv_head_of(self, head: int) -> int:
        """Return the key/value head that a head uses; both count from 0."""
        return head * self.kv_heads // self.n_head

    @property
    def experts(self) -> int:
        """Return the number of parallel feed-forward layers in each block."""
        return self.n_expert if self.mixture_of_experts else 1

    @property
    def parts_add_up(self) -> bool:
        """Return whether the final residual stream is the sum of the outputs of all parts of the model."""
        return self.residual and not self.post_norm

    def is_masked(self, query: int, key: int) -> bool:
        """Return whether the token at position `query` may not attend to the one at `key`."""
        outside = self.attention_window and query - key >= self.attention_window
        return self.causal and (key > query or bool(outside))

    @property
    def sees_ahead(self) -> bool:
        """Return whether later tokens affect a GPT's activations at earlier ones, so that nothing can be cached."""
        return not self.causal or self.softmax_over == "queries"

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.kind == "bigram":
            return self
        head_size, rest = divmod(self.n_embd, self.n_head)
        if rest:
            raise ValueError(f"n_embd {self.n_embd} cannot be shared equally among n_head {self.n_head} heads")
        if self.n_head % self.kv_heads:
            raise ValueError(f"n_kv_head {self.n_kv_head} must divide n_head {self.n_head}, or be 0")
        if self.position == "rope" and head_size % 2:
            raise ValueError(f"rope rotates pairs of channels, so n_embd / n_head must be even, not {head_size}")
        if self.position == "sinusoidal" and self.n_embd % 2:
            raise ValueError(
                f"sinusoidal positions are pairs of a sine and a cosine, so n_embd must be even, not {self.n_embd}"
            )
        if self.mixture_of_experts and self.n_expert_active > self.n_expert:
            raise ValueError(f"n_expert_active {self.n_expert_active} cannot be more than n_expert {self.n_expert}")
        if self.zero_init and not self.residual:
            raise ValueError("zero_init needs residual: blocks that start at zero would let nothing through without it")
        return self
