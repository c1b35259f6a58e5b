"""One token through a GPT and its sampling as machine code, compiled by Numba at the first call and stored on disk.

Importing this module takes a quarter of a second, the first compilation of a machine some seconds:
`core.fast.compiled` decides when they pay. L is the layers, G the heads of keys and values, T the context.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy import float32 as f4

# Sums may be reordered, so that they run in vector registers; nan and inf stay what they are.
_MATH = {"reassoc", "nsz", "contract", "arcp", "afn"}
_compiled = njit(cache=True, fastmath=_MATH, error_model="numpy", nogil=True)
_inlined = njit(inline="always", fastmath=_MATH, error_model="numpy")

_CACHED_BYTES = 300_000  # a matrix below this stays in a core's cache
_CLAMP, _LOG2_E, _LN_2_HIGH, _LN_2_LOW = f4(87.0), f4(1.4426950408889634), f4(0.693359375), f4(-2.12194440e-4)
_SQRT_HALF, _TANH_SCALE = f4(0.7071067811865476), f4(0.7978845608028654)


class Linear(NamedTuple):
    """The same matrix of every layer (L, rows, columns), float32 or int8; rows are multiplied by their scale."""

    weight: np.ndarray
    scale: np.ndarray  # (L, rows)
    bias: np.ndarray  # (L, rows)


class Weights(NamedTuple):
    """All that a model has learned, in float32 but for the matrices of `Linear`."""

    tokens: np.ndarray  # (V, C)
    positions: np.ndarray  # (T, C), zeros where the model has no such table
    bigram: np.ndarray  # (V, V), or (1, 1) for none
    norms: np.ndarray  # (2 L + 1, 2, C): gain and bias of those in front of each sublayer, and of the last
    cos: np.ndarray  # (T, D / 2) of rotary positions, or (1, 1) for none
    sin: np.ndarray
    c_attn: Linear
    attn_proj: Linear
    c_fc: Linear  # without rows where there is no feed-forward layer
    mlp_proj: Linear
    lm_head: Linear  # of one layer


class Switches(NamedTuple):
    """The variant of each part."""

    norm: int  # the place among those of `core.fast.compiled`
    activation: int  # likewise
    residual: bool
    qk_norm: bool
    scale: np.float32  # of attention scores


class State(NamedTuple):
    """Keys and values of the tokens so far, and memory to compute the next one's logits."""

    keys: np.ndarray  # (L, G, T, D)
    values: np.ndarray  # (L, G, T, D)
    stream: np.ndarray  # (C,)
    normed: np.ndarray  # (C,)
    qkv: np.ndarray  # (C + 2 G D,)
    weights: np.ndarray  # (T,) of one head's attention
    z: np.ndarray  # (C,)
    hidden: np.ndarray
    logits: np.ndarray  # (V,)


def as_tuples(parts):
    """Return named tuples as plain ones, which is how they are passed to a kernel."""
    return tuple(as_tuples(part) if isinstance(part, tuple) else part for part in parts)


@_inlined
def _exp(x):
    """Return e to the x within 2e-7 of it, as a polynomial: the library's function keeps loops out of the registers."""
    clamped = min(max(x, -_CLAMP), _CLAMP)
    power = np.floor(clamped * _LOG2_E + f4(0.5))
    r = clamped - power * _LN_2_HIGH - power * _LN_2_LOW  # Cody and Waite 1980, coefficients of Cephes
    p = f4(1.9875691500e-4) * r + f4(1.3981999507e-3)
    p = (p * r + f4(8.3334519073e-3)) * r + f4(4.1665795894e-2)
    p = (p * r + f4(1.6666665459e-1)) * r + f4(5.0000001201e-1)
    p = p * r * r + r + f4(1.0)
    two_to_power = np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)
    return p * two_to_power if x > -_CLAMP else f4(0.0)


@_inlined
def _erf(x):
    """Return the error function within 2e-7 (Abramowitz and Stegun, 7.1.26)."""
    t = f4(1.0) / (f4(1.0) + f4(0.3275911) * abs(x))
    p = f4(1.061405429) * t + f4(-1.453152027)
    p = ((p * t + f4(1.421413741)) * t + f4(-0.284496736)) * t + f4(0.254829592)
    y = f4(1.0) - p * t * _exp(-x * x)
    return y if x >= 0 else -y


@_compiled
def _four_rows_at_once(w, scale, bias, x, out):
    rows, columns = w.shape
    fours = rows - rows % 4
    for row in range(0, fours, 4):
        a, b, c, d = f4(0.0), f4(0.0), f4(0.0), f4(0.0)
        for i in range(columns):
            a += f4(w[row, i]) * x[i]
            b += f4(w[row + 1, i]) * x[i]
            c += f4(w[row + 2, i]) * x[i]
            d += f4(w[row + 3, i]) * x[i]
        out[row] = a * scale[row] + bias[row]
        out[row + 1] = b * scale[row + 1] + bias[row + 1]
        out[row + 2] = c * scale[row + 2] + bias[row + 2]
        out[row + 3] = d * scale[row + 3] + bias[row + 3]
    for row in range(fours, rows):
        a = f4(0.0)
        for i in range(columns):
            a += f4(w[row, i]) * x[i]
        out[row] = a * scale[row] + bias[row]


@_compiled
def _row_by_row(w, scale, bias, x, out):
    for row in range(w.shape[0]):
        a = f4(0.0)
        for i in range(w.shape[1]):
            a += f4(w[row, i]) * x[i]
        out[row] = a * scale[row] + bias[row]


@_compiled
def _multiply(linear, layer, x, out):
    """Store the product of a layer's matrix and x."""
    weights, scales, biases = linear
    w = weights[layer]
    if w.size * w.itemsize < _CACHED_BYTES:
        _four_rows_at_once(w, scales[layer], biases[layer], x, out)
    else:  # one stream is read from memory faster than four
        _row_by_row(w, scales[layer], biases[layer], x, out)


@_compiled
def _normalize(norm, gain_and_bias, x, out):
    size = x.shape[0]
    mean, squares, factor = f4(0.0), f4(0.0), f4(1.0)
    if norm == 2:
        for i in range(size):
            mean += x[i]
        mean /= f4(size)
    if norm:
        for i in range(size):
            squares += (x[i] - mean) * (x[i] - mean)
        factor = f4(1.0) / np.sqrt(squares / f4(size) + f4(1e-5))
    for i in range(size):
        out[i] = (x[i] - mean) * factor * gain_and_bias[0, i] + gain_and_bias[1, i]


@_compiled
def _write(residual, x, stream):
    """Add a sublayer's output to the residual stream, or let it take its place."""
    for i in range(x.shape[0]):
        stream[i] = x[i] + (stream[i] if residual else f4(0.0))


@_compiled
def _place(normalizes, cos, sin, position, vector):
    """Normalize and rotate one query or key (D,), if the model does."""
    size, half = vector.shape[0], vector.shape[0] // 2
    if normalizes:
        squares = f4(0.0)
        for i in range(size):
            squares += vector[i] * vector[i]
        factor = f4(1.0) / np.sqrt(squares / f4(size) + f4(1.1920929e-7))  # rms_norm's own smallest number
        for i in range(size):
            vector[i] *= factor
    if cos.shape[0] > 1:
        for i in range(half):
            left, right = vector[i], vector[i + half]
            vector[i] = left * cos[position, i] - right * sin[position, i]
            vector[i + half] = left * sin[position, i] + right * cos[position, i]


@_compiled
def _score(q, keys, weights):
    """Store the products of one query and all keys (count, D) in weights (count,), four at once."""
    count, size = keys.shape
    fours = count - count % 4
    for t in range(0, fours, 4):
        a, b, c, e = f4(0.0), f4(0.0), f4(0.0), f4(0.0)
        for d in range(size):
            a += q[d] * keys[t, d]
            b += q[d] * keys[t + 1, d]
            c += q[d] * keys[t + 2, d]
            e += q[d] * keys[t + 3, d]
        weights[t], weights[t + 1], weights[t + 2], weights[t + 3] = a, b, c, e
    for t in range(fours, count):
        weights[t] = f4(0.0)
        for d in range(size):
            weights[t] += q[d] * keys[t, d]


@_compiled
def _softmax(scores, scale):
    """Replace the scores (count,), times a scale, by their softmax."""
    largest, total = scores[0] * scale, f4(0.0)
    for t in range(scores.shape[0]):
        largest = max(largest, scores[t] * scale)
    for t in range(scores.shape[0]):
        scores[t] = _exp(scores[t] * scale - largest)
        total += scores[t]
    for t in range(scores.shape[0]):
        scores[t] /= total


@_compiled
def _mix(weights, values, z):
    """Store the sum of values (count, D) by their weights (count,) in z (D,)."""
    count, size = values.shape
    fours = count - count % 4
    for d in range(size):
        z[d] = f4(0.0)
    for t in range(0, fours, 4):
        a, b, c, e = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for d in range(size):
            z[d] += a * values[t, d] + b * values[t + 1, d] + c * values[t + 2, d] + e * values[t + 3, d]
    for t in range(fours, count):
        for d in range(size):
            z[d] += weights[t] * values[t, d]


@_compiled
def _attend(layer, position, qk_norm, scale, cos, sin, c_attn, keys, values, weights, x, qkv, z):
    """Store what all heads of a layer read, side by side, in z (C,)."""
    groups, size, count = keys.shape[1], keys.shape[3], position + 1
    width = x.shape[0]
    heads = width // size
    _multiply(c_attn, layer, x, qkv)
    if qk_norm or cos.shape[0] > 1:
        for vector in range(heads + groups):
            _place(qk_norm, cos, sin, position, qkv[vector * size : (vector + 1) * size])
    for group in range(groups):
        at = width + group * size
        for d in range(size):
            keys[layer, group, position, d] = qkv[at + d]
            values[layer, group, position, d] = qkv[at + groups * size + d]
    for head in range(heads):
        group, start, end = head // (heads // groups), head * size, (head + 1) * size
        _score(qkv[start:end], keys[layer, group, :count], weights[:count])
        _softmax(weights[:count], scale)
        _mix(weights[:count], values[layer, group, :count], z[start:end])


@_compiled
def _activate(activation, hidden, size):
    """Apply the nonlinearity in place; of a gated one the first half of twice the size is the gate."""
    if activation == 0:
        for i in range(size):
            hidden[i] = max(hidden[i], f4(0.0))
    elif activation == 1:
        for i in range(size):
            hidden[i] *= f4(0.5) * (f4(1.0) + _erf(hidden[i] * _SQRT_HALF))
    elif activation == 2:  # half of 1 + tanh(u) is 1 / (1 + exp(-2 u))
        for i in range(size):
            u = _TANH_SCALE * (hidden[i] + f4(0.044715) * hidden[i] * hidden[i] * hidden[i])
            hidden[i] /= f4(1.0) + _exp(f4(-2.0) * u)
    elif activation == 3:
        for i in range(size):
            hidden[i] = hidden[i] / (f4(1.0) + _exp(-hidden[i])) * hidden[size + i]
    else:
        for i in range(size):
            hidden[i] = max(hidden[i], f4(0.0)) * max(hidden[i], f4(0.0))


@_compiled
def step(token, position, switches, model, state):
    """Read a token at a position: extend keys and values, and store the logits of the next token."""
    # Taken out of their tuples once: each access counts references. Numba is passed plain tuples, which it recognizes
    # in a third of the time.
    norm, activation, residual, qk_norm, scale = switches
    tokens, positions, bigram, norms, cos, sin, c_attn, attn_proj, c_fc, mlp_proj, lm_head = model
    keys, values, stream, normed, qkv, weights, z, hidden, logits = state
    layers, neurons = keys.shape[0], mlp_proj[0].shape[2]
    for i in range(stream.shape[0]):
        stream[i] = tokens[token, i] + positions[position, i]
    for layer in range(layers):
        _normalize(norm, norms[2 * layer], stream, normed)
        _attend(layer, position, qk_norm, scale, cos, sin, c_attn, keys, values, weights, normed, qkv, z)
        _multiply(attn_proj, layer, z, normed)
        _write(residual, normed, stream)
        if neurons:
            _normalize(norm, norms[2 * layer + 1], stream, normed)
            _multiply(c_fc, layer, normed, hidden)
            _activate(activation, hidden, neurons)
            _multiply(mlp_proj, layer, hidden[:neurons], normed)
            _write(residual, normed, stream)
    _normalize(norm, norms[2 * layers], stream, normed)
    _multiply(lm_head, 0, normed, logits)
    if bigram.shape[0] > 1:
        for i in range(logits.shape[0]):
            logits[i] += bigram[token, i]


@_compiled
def probabilities_of(logits, temperature, out):
    """Store the probabilities (V,) at a temperature; return the largest logit, nan if one of them is."""
    largest, total = logits[0], f4(0.0)
    for i in range(logits.shape[0]):
        if logits[i] > largest or logits[i] != logits[i]:
            largest = logits[i]
        if largest != largest:
            return largest
    for i in range(logits.shape[0]):
        out[i] = _exp((logits[i] - largest) / temperature)
        total += out[i]
    for i in range(logits.shape[0]):
        out[i] /= total
    return largest


@_compiled
def sample(probabilities, min_p, uniform):
    """Return the token at which the sum of probabilities (V,) exceeds a share of the whole, and its own share.

    Those below `min_p` of the largest count as 0.
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


@_compiled
def rank_most_likely(probabilities, ids):
    """Store the most likely tokens in ids (k,), best first, the earlier one of equals in front."""
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


def warm_up():
    """Compile all of it for matrices of float32 and int8, or load what was compiled before."""
    small = np.ones((3, 2, 2), np.float32)
    for kind in (np.float32, np.int8):
        linear = Linear(np.ones((1, 2, 2), kind), small[0], small[0])
        queries = Linear(np.ones((1, 6, 2), kind), np.ones((1, 6), np.float32), np.ones((1, 6), np.float32))
        weights = Weights(small[0], small[0], small[0], small, small[0], small[0], queries, *[linear] * 4)
        vectors = [np.ones(size, np.float32) for size in (2, 2, 6, 2, 2, 2, 2)]
        state = State(np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 2, 2), np.float32), *vectors)
        step(0, 0, as_tuples(Switches(0, 0, True, False, f4(1.0))), as_tuples(weights), as_tuples(state))
    probabilities_of(state.logits, f4(1.0), state.z)
    sample(state.z, f4(0.0), 0.5)
    rank_most_likely(state.z, np.zeros(1, np.int64))
