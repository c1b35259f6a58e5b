"""The lecture's first language model: a table that knows which token tends to follow which."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig
from core.model.hooks import Hook, hook_point


class Bigram(nn.Module):
    """One row of logits for each token, learned; the context before the last token is not looked at.

    From Karpathy's "Let's build GPT", where it is `BigramLanguageModel`.
    """

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size, self.block_size = config, vocab_size, config.block_size
        self.token_embedding_table = nn.Embedding(vocab_size, vocab_size)
        # Near zero, every next token is equally likely, so the first loss is ln V: guessing at random.
        nn.init.normal_(self.token_embedding_table.weight, std=config.init_std)

    def forward(
        self, ids: Tensor, targets: Tensor | None = None, *, cache: None = None, hook: Hook | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits (B, T, V) for ids (B, T), and the mean loss in nats where targets (B, T) are given."""
        logits = hook_point(hook, "hook_embed", self.token_embedding_table(ids))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    @torch.no_grad()
    def table(self) -> Tensor:
        """Probabilities (V, V): row i says what follows token i."""
        return self.token_embedding_table.weight.softmax(dim=-1)
