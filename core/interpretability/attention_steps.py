"""One cell of an attention pattern, worked out step by step with the model's own numbers.

"Attention Is All You Need" (Vaswani 2017), equation 1, for one query and one key.
"""

from dataclasses import dataclass

import numpy as np

from core.interpretability.activations import Ids, PromptError, record
from core.model import GPT


@dataclass(frozen=True)
class Cell:
    """What leads from a query and a key to one weight, and from all weights of the row to what the head hands over.

    D is the head size C / H, T the tokens. All arrays are float32.

    Attributes:
        steps: what was done to query and key before they were multiplied, in this order: "normalised", "rotated".
        q_projected, k_projected: (D,), as they leave their linear layer.
        q, k: (D,), as they are multiplied: the same, unless `steps` says otherwise.
        products: (D,), q * k, number by number.
        product: their sum.
        scale: what the sum is multiplied by, 1 / sqrt(D), or 1 where the model does not scale.
        score: product * scale, before the mask.
        hidden: whether the mask hides this key from this query.
        row_scores: (T,), the scores of all keys for this query; -inf where the mask hides them.
        row_weights: (T,), their softmax, summing to 1.
        weight: this cell's.
        values: (T, D), what each token offers.
        weighted_values: (T, D), row_weights times values.
        z: (D,), their sum: what the head hands over to this query's token.
    """

    steps: tuple[str, ...]
    q_projected: np.ndarray
    k_projected: np.ndarray
    q: np.ndarray
    k: np.ndarray
    products: np.ndarray
    product: float
    scale: float
    score: float
    hidden: bool
    row_scores: np.ndarray
    row_weights: np.ndarray
    weight: float
    values: np.ndarray
    weighted_values: np.ndarray
    z: np.ndarray


def arithmetic(model: GPT, ids: Ids, layer: int, head: int, query: int, key: int) -> Cell:
    """How `head` of `layer` decides how much the token at `query` looks at the one at `key`; all counted from 0.

    Raises PromptError for no tokens, more than the context holds, a query or key that the prompt does not have, or a
    model whose softmax runs over queries: its weights do not come from a row.
    """
    if model.config.softmax_over == "queries":
        raise PromptError(
            "This model takes its softmax over the queries, so a weight depends on its whole column, later letters "
            "included. Step by step, only the softmax over keys is shown here."
        )
    attention = f"blocks.{layer}.attn."
    steps = ("normalised",) * model.config.qk_norm + ("rotated",) * (model.config.position == "rope")
    recorded = record(
        model,
        ids,
        [attention + name for name in ("hook_q", "hook_k", "hook_v", "hook_attn_scores", "hook_pattern", "hook_z")]
        + [attention + name for name in ("hook_rot_q", "hook_rot_k") if steps],
    )
    at = {name.removeprefix(attention): tensor for name, tensor in recorded.items()}
    T = len(at["hook_q"])
    if not (0 <= query < T and 0 <= key < T):
        raise PromptError(f"This prompt has {T} tokens; there is no cell in row {query + 1}, column {key + 1} of it.")
    q_projected, k_projected = at["hook_q"][query, head], at["hook_k"][key, head]
    q, k = at.get("hook_rot_q", at["hook_q"])[query, head], at.get("hook_rot_k", at["hook_k"])[key, head]
    row_weights, values = at["hook_pattern"][head, query], at["hook_v"][:, head]
    scale = model.transformer.h[layer].attn.scale
    product = float(q @ k)
    return Cell(
        steps=steps,
        q_projected=q_projected,
        k_projected=k_projected,
        q=q,
        k=k,
        products=q * k,
        product=product,
        scale=scale,
        score=product * scale,
        hidden=model.config.causal and key > query,
        row_scores=at["hook_attn_scores"][head, query],
        row_weights=row_weights,
        weight=float(row_weights[key]),
        values=values,
        weighted_values=row_weights[:, None] * values,
        z=at["hook_z"][query, head],
    )
