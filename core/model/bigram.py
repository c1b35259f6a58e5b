"""The lecture's first language model: one table of which token follows which."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig
from core.model.layers import Hook, hook_point


class Bigram(nn.Module):
    """A learned row of logits for each token: `BigramLanguageModel` of Karpathy's "Let's build GPT"."""

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size, self.block_size = config, vocab_size, config.block_size
        self.token_embedding_table = nn.Embedding(vocab_size, vocab_size)
        # Weights near zero make every next token equally likely, so the first loss is ln V.
        nn.init.normal_(self.token_embedding_table.weight, std=config.init_std)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        targets: Int[Tensor, "B T"] | None = None,
        *,
        cache: None = None,  # noqa: ARG002 (the signature of GPT)
        hook: Hook | None = None,
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, ""] | None]:
        """Return the logits of the next tokens, and their mean loss in nats/token if targets are passed."""
        logits = hook_point(hook, "hook_embed", self.token_embedding_table(ids))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    @torch.no_grad()
    def table(self) -> Float[Tensor, "V V"]:
        """Return probabilities: row i is the distribution of the token after token i."""
        return self.token_embedding_table.weight.softmax(dim=-1)
