"""What one step asks of a machine, counted from the settings: multiplications, numbers moved, memory held.

Counted for the models in `core.model` on a processor, in units of B (batch), T (context), C (width), H (heads),
V (vocabulary). A test holds these counts against what torch really keeps.
"""

from dataclasses import dataclass

from core.config import ModelConfig
from core.model.gpt import LONG, feed_forward_width


@dataclass(frozen=True)
class Work:
    """The work of one token in one training step, forward and backward.

    Attributes:
        layers: blocks that it passes through.
        parameters: numbers that training may change, exactly.
        flops: multiplications and additions in matrix products (Kaplan 2020; PaLM, appendix B).
        numbers_moved: float32 numbers read or written outside of matrix products.
        dropped: numbers that dropout throws a die for.
        numbers_kept: float32 numbers held from the forward pass until the backward pass has used them.
        numbers_passing: float32 numbers that come on top at the start of the backward pass: gradients.
        muon_numbers: parameters in the matrices of the blocks, which Muon would look after.
        muon_flops: of one update of those by Muon, whatever the batch.
    """

    layers: int
    parameters: int
    flops: float
    numbers_moved: float
    dropped: float
    numbers_kept: float
    numbers_passing: float
    muon_numbers: int = 0
    muon_flops: float = 0.0


def exact_parameters(config: ModelConfig, vocab_size: int) -> int:
    """Parameters of the model as it would be built."""
    if config.kind == "bigram":
        return vocab_size**2
    C, wide = config.n_embd, feed_forward_width(config) if config.feed_forward else 0
    entry = 2 * wide if config.activation == "swiglu" else wide
    matrices = 4 * C * C + C * entry + wide * C
    biases = (3 * C + C + (entry + C) * config.feed_forward) * config.bias
    norm = {"layer": C + C * config.bias, "rms": C, "none": 0}[config.norm]
    tables = vocab_size * C * (1 if config.tie_weights else 2) + vocab_size**2 * config.bigram_start
    positions = config.block_size * C if config.position == "learned" else 0
    return tables + positions + config.n_layer * (matrices + biases + (1 + config.feed_forward) * norm) + norm


def work_per_token(config: ModelConfig, vocab_size: int, precision: str = "float32") -> Work:
    """Count one token's share of a training step."""
    parameters = exact_parameters(config, vocab_size)
    if config.kind == "bigram":
        return Work(0, parameters, 6 * vocab_size, 6 * vocab_size, 0, 2 * vocab_size, vocab_size)
    L, C, T, H = config.n_layer, config.n_embd, config.block_size, config.n_head
    halves = 2 if config.feed_forward else 1  # of a block
    wide = feed_forward_width(config) if config.feed_forward else 0
    gated, rope, dropout = config.activation == "swiglu", config.position == "rope", config.dropout > 0
    qk_norm, bigram = config.qk_norm, config.bigram_start
    half = precision == "bfloat16"
    size = 0.5 if half else 1.0  # of a number that a matrix product reads or writes, in float32 numbers
    spelled_out = dropout or (half and T <= LONG) or config.softmax_over == "queries"
    pattern = H * T if spelled_out else 0  # where attention spells its weights out

    inside = L * (4 * C * C + (3 if gated else 2) * C * wide)
    matrices = inside + vocab_size * C  # weights a token is multiplied with
    dropped = C + L * (halves * C + H * T) if dropout else 0
    moved = L * (17 * halves * C + 16 * C * rope + 16 * C * qk_norm + size * (8 + 4 * dropout) * pattern)
    moved += L * (
        12 * halves * C * (config.norm == "rms") + 4 * wide * (config.activation == "relu2")
    )  # not fused: more passes
    moved += (6 + 3 * bigram) * vocab_size

    norm = {"layer": C, "rms": 2 * C, "none": 0}[config.norm]  # its input; RMSNorm keeps a copy besides
    # q, k, v, and q, k once more from before they were normalised, or where the kernel keeps them beside the turned
    # ones; what heads read; the pattern where it is spelled out, with what dropout blanked of it and what it left.
    again = 3 * C * (qk_norm or (rope and not pattern))
    attention = size * (3 * C + again + C + (3 if dropout else 1) * pattern)
    inputs = size * halves * C  # of c_attn and c_fc
    hidden = {"relu": wide, "gelu": 2 * wide, "gelu_tanh": 2 * wide, "swiglu": 4 * wide, "relu2": 2 * wide}
    masks = size * (1 + halves * L) * C * dropout
    ends = norm + size * C + masks + (1 + size) * vocab_size  # the last: logits, and their logarithms
    kept = L * (halves * norm + attention + inputs + size * hidden[config.activation]) + ends
    return Work(
        L,
        parameters,
        6 * matrices + 12 * L * C * T,
        moved,
        dropped,
        kept,
        vocab_size + 2 * wide,
        inside,
        L * _muon_flops(C, wide, gated),
    )


def _muon_flops(C: int, wide: int, gated: bool) -> float:
    """Newton-Schulz on one block's matrices: five times three products of (rows, columns), rows <= columns."""
    shapes = [(C, C)] * 4 + ([(C, wide), (C, 2 * wide if gated else wide)] if wide else [])
    return sum(5 * (4 * rows * rows * columns + 2 * rows**3) for rows, columns in shapes)
