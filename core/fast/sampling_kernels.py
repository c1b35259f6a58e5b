"""Sampling as machine code, several tokens per call: in Python it would take longer than the model."""

import numpy as np
from numba import float32 as f4

from core.fast.kernels import Linear, State, Switches, Weights, as_tuples, compiled, exp, step


@compiled
def _probabilities_of(logits, temperature, out):
    """Store the probabilities (V,) at a temperature; return the largest logit, or nan if any logit is nan."""
    largest, total = logits[0], f4(0.0)
    for i in range(logits.shape[0]):
        if logits[i] > largest or logits[i] != logits[i]:
            largest = logits[i]
        if largest != largest:
            return largest
    for i in range(logits.shape[0]):
        out[i] = exp((logits[i] - largest) / temperature)
        total += out[i]
    for i in range(logits.shape[0]):
        out[i] /= total
    return largest


@compiled
def _sample(probabilities, min_p, uniform):
    """Return the token at which the sum of probabilities (V,) exceeds `uniform` of the total, and its own share.

    Probabilities below `min_p` times the largest count as 0.
    """
    least, total, chosen = f4(0.0), 0.0, -1
    for i in range(probabilities.shape[0]):
        least = max(least, probabilities[i])
    least *= min_p
    for i in range(probabilities.shape[0]):
        total += np.float64(probabilities[i]) if probabilities[i] >= least else 0.0
    wanted, reached = uniform * total, 0.0
    for i in range(probabilities.shape[0]):
        if probabilities[i] >= least and probabilities[i] > 0:
            reached += np.float64(probabilities[i])
            chosen = i
            if reached > wanted:
                break
    return chosen, np.float64(probabilities[chosen]) / total


@compiled
def _rank_most_likely(probabilities, ids):
    """Store the top tokens in ids (k,), best first; among equals, the earlier one comes first."""
    filled = 0
    for i in range(probabilities.shape[0]):
        if filled == ids.shape[0] and (filled == 0 or probabilities[i] <= probabilities[ids[filled - 1]]):
            continue
        filled = min(filled + 1, ids.shape[0])
        place = filled - 1
        while place > 0 and probabilities[ids[place - 1]] < probabilities[i]:
            ids[place] = ids[place - 1]
            place -= 1
        ids[place] = i


@compiled
def write_tokens(tokens, texts, positions, sampling, sampled, probabilities, switches, model, state):
    """Sample S = `tokens` tokens for each of the texts (N,) from its position (N,) on, and read all but the last.

    Returns how many tokens were sampled for each text: fewer if the next logits of a text are not finite.
    """
    temperatures, min_ps, uniforms = sampling  # (N,), (N,) and (S, N) in [0, 1)
    ids, own, chances = sampled[0], sampled[1], sampled[2]  # (S, N): also probabilities by the model and of sampling
    best, best_own = sampled[3], sampled[4]  # (S, N, A): the top tokens
    logits_of_all = state[10]
    for at in range(tokens):
        if at:
            step(texts, ids[at - 1], positions, switches, model, state)
            positions += 1
        for n in range(len(texts)):
            logits, temperature = logits_of_all[texts[n]], temperatures[n]
            if not np.isfinite(_probabilities_of(logits, temperature if temperature > 0 else f4(1.0), probabilities)):
                return at
            if temperature > 0:
                id, chance = _sample(probabilities, min_ps[n], uniforms[at, n])
                if temperature != f4(1.0):
                    _probabilities_of(logits, f4(1.0), probabilities)
            else:
                id, chance = np.argmax(logits), 1.0
            ids[at, n], own[at, n], chances[at, n] = id, probabilities[id], chance
            if best.shape[2]:
                _rank_most_likely(probabilities, best[at, n])
                for i in range(best.shape[2]):
                    best_own[at, n, i] = probabilities[best[at, n, i]]
    return tokens


def warm_up():
    """Compile all kernels for float32 and int8 matrices, or load those compiled before."""
    one, small, texts = np.ones((1, 2), np.float32), np.ones((3, 2, 2), np.float32), np.zeros(1, np.int64)
    for kind in (np.float32, np.int8):
        linear = Linear(np.ones((1, 2, 2), kind), small[0], small[0])
        queries = Linear(np.ones((1, 6, 2), kind), np.ones((1, 6), np.float32), np.ones((1, 6), np.float32))
        weights = Weights(small[0], small[0], one[0], small[0], small, small[0], small[0], queries, *[linear] * 4)
        cached, qkv = np.ones((1, 1, 1, 2, 2), np.float32), np.ones((1, 6), np.float32)
        state = State(cached, cached, texts[None], one, one, qkv, one[0], one, one, one, one, small[0])
        parts = [as_tuples(part) for part in (Switches(0, 0, True, False, f4(1.0)), weights, state)]
        step(texts, texts, texts, *parts)
        numbers, ids = np.ones((1, 1)), np.zeros((1, 1), np.int64)
        sampled = ids, numbers, numbers, ids[None], numbers[None]
        write_tokens(1, texts, texts, (one[0, :1], one[0, :1], numbers), sampled, one[0], *parts)
