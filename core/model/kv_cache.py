"""Keys and values of earlier tokens, and the last token's embedding, so that generation reads each token once."""

import torch
from jaxtyping import Float
from torch import Tensor

from core.config import ModelConfig


class KVCache:
    """Keys and values of one context, filled from the left. B rows, G heads of size D."""

    def __init__(self, config: ModelConfig, batch_size: int = 1, device: torch.device | str = "cpu"):
        shape = (config.n_layer, 2, batch_size, config.kv_heads, config.block_size, config.n_embd // config.n_head)
        self._store = torch.empty(shape, device=device)
        self._layers = self._store.unbind()  # each (2, B, G, block_size, D)
        self._keys_and_values = [layer.unbind() for layer in self._layers]
        self.length = 0  # tokens so far, at most block_size
        self.last_embedding: Tensor | None = None  # (B, 1, C) of the last token; only if the next one reads it

    def extend(
        self, layer: int, keys: Float[Tensor, "B G T D"], values: Float[Tensor, "B G T D"]
    ) -> tuple[Float[Tensor, "B G {self.length}+T D"], Float[Tensor, "B G {self.length}+T D"]]:
        """Append one layer's new keys and values; return all of them."""
        end = self.length + keys.size(2)
        self._store[layer, 0, :, :, self.length : end] = keys
        self._store[layer, 1, :, :, self.length : end] = values
        return self._store[layer, 0, :, :, :end], self._store[layer, 1, :, :, :end]

    def put(
        self, layer: int, new: Float[Tensor, "2 B G 1 D"]
    ) -> tuple[Float[Tensor, "B G {self.length}+1 D"], Float[Tensor, "B G {self.length}+1 D"]]:
        """Append one token's keys and values, like `extend` but faster."""
        self._layers[layer].narrow(3, self.length, 1).copy_(new)
        keys, values = self._keys_and_values[layer]
        return keys.narrow(2, 0, self.length + 1), values.narrow(2, 0, self.length + 1)

    def of(self, layer: int) -> tuple[Float[Tensor, "B G {self.length} D"], Float[Tensor, "B G {self.length} D"]]:
        """Return one layer's keys and values."""
        keys, values = self._keys_and_values[layer]
        return keys.narrow(2, 0, self.length), values.narrow(2, 0, self.length)
