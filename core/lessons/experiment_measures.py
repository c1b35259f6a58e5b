"""What only some experiments measure on their twins, besides what all do."""

import torch
from torch import Tensor

from core.interpretability.activations import read
from core.interpretability.token_losses import window_losses
from core.model import GPT
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.batches import fixed_windows
from core.text.tokenizers import CharTokenizer

WINDOWS = 600  # pieces of text that are measured on


class Share(float):
    """Of one whole; said in per cent."""


def recitation(model: GPT, tokenizer: CharTokenizer, phrase: str) -> dict[str, float | str]:
    """Has the model learned the phrase by heart? Given its first third, how well it knows the rest.

    Returns `phrase`, nats a character on the rest, `likely`, the probability of the whole rest, and `goes_on`: what
    the model itself takes for likeliest, as many characters.
    """
    ids = tokenizer.encode("\n" + phrase)[-model.block_size - 1 :]
    given = max(1, len(ids) // 3)
    losses = window_losses(model, torch.tensor([ids]))[0, given - 1 :]  # (R,)
    how = GenerationConfig(max_new_tokens=len(ids) - given, temperature=0.0)
    goes_on = tokenizer.decode(token.id for token in generate(model, ids[:given], how, alternatives=0))
    return {"phrase": float(losses.mean()), "likely": Share(torch.exp(-losses.sum())), "goes_on": goes_on}


def loss_on_letter(model: GPT, tokenizer: CharTokenizer, val_ids: Tensor, letter: str) -> dict[str, float]:
    """Nats on one letter, small or capital, and on all others; and `expected`: how likely the letter is held overall.

    All on text kept aside, in which the letter stands as it always did.
    """
    windows = fixed_windows(val_ids, model.block_size, WINDOWS)
    wanted = [tokenizer.tokens.index(form) for form in (letter.lower(), letter.upper()) if form in tokenizer.tokens]
    is_letter = torch.isin(windows[:, 1:], torch.tensor(sorted(set(wanted))))  # (N, T)
    losses = window_losses(model, windows)  # (N, T)
    belief = read(model, windows[:, :-1]).softmax(dim=-1)[..., sorted(set(wanted))].sum(dim=-1)  # (N, T)
    return {
        "on_letter": float(losses[is_letter].mean()),
        "on_others": float(losses[~is_letter].mean()),
        "expected": Share(belief.mean()),
    }
