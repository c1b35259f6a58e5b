"""A diagram of a model with given settings: boxes in order of computation, each with its share of the parameters."""

from html import escape

from core.config import ModelConfig
from core.training.work import parameters_by_part
from explorer.charts.text_format import percent
from explorer.i18n.language import N_, _, ngettext

_PARTS = {  # by the name of the module
    "wte": N_("Token embedding"),
    "wpe": N_("Position embedding"),
    "attn": N_("Attention"),
    "mlp": N_("Feed-forward"),
    "ln_": N_("Norms"),
    "lm_head": N_("Unembedding"),
    "bigram": N_("Bigram table"),
    "token_embedding_table": N_("Bigram table"),
}
_MAX_BLOCKS, _MAX_HEADS = 12, 24  # drawn behind one another, and beside one another


def model_diagram(config: ModelConfig, vocab_size: int) -> str:
    """Return the diagram as HTML without any user's text, with a sentence for screen readers."""
    shares = parameter_shares(config, vocab_size)
    bar = "".join(f'<span class="part-{part}" style="flex-grow: {share:.4f}"></span>' for part, share in shares.items())
    boxes = _gpt_boxes(config, shares, vocab_size) if config.kind == "gpt" else _bigram_boxes(shares, vocab_size)
    # An arrow belongs to the box that it points to, so that none is left at the end of a line.
    flow = "".join(f'<div class="model-stage">{"<i>→</i>" if at else ""}{box}</div>' for at, box in enumerate(boxes))
    return (
        f'<div class="model-diagram" role="img" aria-label="{escape(diagram_in_words(config, vocab_size))}">'
        f'<div class="model-flow">{flow}</div><div class="model-shares">{bar}</div></div>'
    )


def parameter_shares(config: ModelConfig, vocab_size: int) -> dict[str, float]:
    """Return each part's share of all parameters, by the name of its module."""
    counts = parameters_by_part(config, vocab_size)
    return {part: count / sum(counts.values()) for part, count in counts.items()}


def diagram_in_words(config: ModelConfig, vocab_size: int) -> str:
    """Return the name of the diagram and what it shows."""
    shares = parameter_shares(config, vocab_size)
    parts = ", ".join(f"{_(_PARTS[part])} {percent(share)}" for part, share in shares.items())
    if config.kind == "bigram":
        return _(
            "Diagram of the model: a table of {size} rows and columns, one of each for a token.", size=f"{vocab_size:,}"
        )
    blocks = ngettext("{count} block", "{count} blocks", config.n_layer)
    heads = _heads_in_words(config)
    return _(
        "Diagram of the model: {blocks} with {heads} each, width {width}, context {context}. Share of the parameters: "
        "{parts}.",
        blocks=blocks, heads=heads, width=config.n_embd, context=config.block_size, parts=parts,
    )  # fmt: skip


def _heads_in_words(config: ModelConfig) -> str:
    heads = ngettext("{count} head", "{count} heads", config.n_head)
    if config.kv_heads == config.n_head:
        return heads
    shared = ngettext("{count} of keys and values", "{count} of keys and values", config.kv_heads)
    return f"{heads}, {shared}"


def _gpt_boxes(config: ModelConfig, shares: dict[str, float], vocab_size: int) -> list[str]:
    context = ngettext("{count} token", "{count} tokens", config.block_size)
    width = _("width {width}", width=config.n_embd)
    squares = "<b></b>" * min(config.n_head, _MAX_HEADS)
    heads = _heads_in_words(config)
    sublayers = _box("attn", shares, heads, f'<div class="model-heads">{squares}</div>')
    if config.feed_forward:
        experts = ngettext("{count} expert", "{count} experts", config.experts)
        active = _("{count} for each token", count=config.n_expert_active)
        kinds = f"{config.activation}, {experts}, {active}" if config.mixture_of_experts else config.activation
        sublayers += _box("mlp", shares, kinds)
    blocks = ngettext("{count} block", "{count} blocks", config.n_layer)
    depth = min(config.n_layer, _MAX_BLOCKS) - 1
    shadows = ", ".join(
        f"{3 * n}px {-3 * n}px 0 -1px Canvas, {3 * n}px {-3 * n}px 0 0 GrayText" for n in range(1, depth + 1)
    )
    stack = f"box-shadow: {shadows}; margin: {3 * depth}px {3 * depth}px 0 0" if shadows else ""
    end = _box("lm_head", shares, ngettext("{count} logit", "{count} logits", vocab_size, count=f"{vocab_size:,}"))
    return [
        f"<div><small>{_('context')}</small><strong>{context}</strong></div>",
        f"<div>{_box('wte', shares, width)}{_box('wpe', shares, width) if 'wpe' in shares else ''}</div>",
        f'<div class="model-block" style="{stack}"><small>× {blocks}</small>{sublayers}</div>',
        f"<div>{end}{_box('bigram', shares, '') if 'bigram' in shares else ''}</div>",
    ]


def _bigram_boxes(shares: dict[str, float], vocab_size: int) -> list[str]:
    token = ngettext("{count} token", "{count} tokens", 1)
    size = f"{vocab_size:,} × {vocab_size:,}"
    logits = ngettext("{count} logit", "{count} logits", vocab_size, count=f"{vocab_size:,}")
    return [
        f"<div><strong>{token}</strong></div>",
        _box("token_embedding_table", shares, size),
        f"<div><strong>{logits}</strong></div>",
    ]


def _box(part: str, shares: dict[str, float], size: str, more: str = "") -> str:
    share = percent(shares[part]) if part in shares else _("same table as the token embedding")
    between = "" if not size else " · " if part in shares else "<br>"
    return (
        f'<div class="model-part part-{part}"><strong>{_(_PARTS[part])}</strong>{more}'
        f"<small>{escape(size)}{between}{escape(share)}</small></div>"
    )
