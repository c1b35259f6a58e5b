"""One token of several texts through a GPT as machine code, compiled by Numba at the first call and cached on disk.

Importing this module takes a quarter of a second, the first compilation on a machine some seconds: `core.fast.compiled`
decides when that pays off. B is the number of texts, N those read now, L the layers, G the heads of keys and values, T
the context.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy import float32 as f4

# Sums may be reordered, so that they run in vector registers; nan and inf are respected.
_MATH = {"reassoc", "nsz", "contract", "arcp", "afn"}
_SOURCES = sha256(
    b"".join(Path(__file__).with_name(name).read_bytes() for name in ("kernels.py", "sampling_kernels.py"))
)
_inlined = njit(inline="always", fastmath=_MATH, error_model="numpy")

_CACHED_BYTES = 300_000  # a matrix below this stays in a core's cache
_CLAMP, _LOG2_E, _LN_2_HIGH, _LN_2_LOW = f4(87.0), f4(1.4426950408889634), f4(0.693359375), f4(-2.12194440e-4)
_SQRT_HALF, _TANH_SCALE = f4(0.7071067811865476), f4(0.7978845608028654)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function as a kernel, cached on disk under a name with the hash of both kernel files.

    Numba only checks whether the function's own file changed, although kernels of the other file are compiled into it.
    """
    function.__qualname__ += f"_{_SOURCES.hexdigest()[:12]}"
    return njit(cache=True, fastmath=_MATH, error_model="numpy", nogil=True)(function)


class Linear(NamedTuple):
    """One matrix stacked over all layers (L, rows, columns), float32 or int8; rows are multiplied by their scale."""

    weight: np.ndarray
    scale: np.ndarray  # (L, rows)
    bias: np.ndarray  # (L, rows)


class Weights(NamedTuple):
    """All weights of a model, in float32 except for the matrices of `Linear`."""

    tokens: np.ndarray  # (V, C)
    positions: np.ndarray  # (T, C), zeros if the model has no such table
    shift: np.ndarray  # (C,) weights of the previous token's embedding, or (0,) for none
    bigram: np.ndarray  # (V, V), or (1, 1) for none
    norms: np.ndarray  # (2 L + 1, 2, C): gain and bias of the norm before each sublayer, and of the final norm
    cos: np.ndarray  # (T, D / 2) of rotary positions, or (1, 1) for none
    sin: np.ndarray
    c_attn: Linear
    attn_proj: Linear
    c_fc: Linear  # without rows if there is no feed-forward layer
    mlp_proj: Linear
    lm_head: Linear  # with L = 1


class Switches(NamedTuple):
    """The variant of each part."""

    norm: int  # index among the norms of `core.fast.compiled`
    activation: int  # index among its activations
    residual: bool
    qk_norm: bool
    scale: np.float32  # of attention scores


class State(NamedTuple):
    """Keys and values of each text's tokens so far, and buffers to compute the next logits."""

    keys: np.ndarray  # (B, L, G, T, D)
    values: np.ndarray  # (B, L, G, T, D)
    read: np.ndarray  # (B, T) ids of each text's tokens so far, for a model that looks one token back
    stream: np.ndarray  # (B, C)
    normed: np.ndarray  # (B, C)
    qkv: np.ndarray  # (B, C + 2 G D)
    weights: np.ndarray  # (T,) of one head's attention
    z: np.ndarray  # (B, C)
    hidden: np.ndarray  # (B, neurons), twice as many with a gate
    scores: np.ndarray  # (B, V) of the texts read now, in their order
    logits: np.ndarray  # (B, V) of each text
    block: np.ndarray  # (4, largest number of columns): rows of a matrix


def as_tuples(parts):
    """Return named tuples as plain ones, which kernels take."""
    return tuple(as_tuples(part) if isinstance(part, tuple) else part for part in parts)


@_inlined
def exp(x):
    """Return e to the x by a polynomial, within 2e-7 of it: the library's function would prevent vectorized loops."""
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
    y = f4(1.0) - p * t * exp(-x * x)
    return y if x >= 0 else -y


@compiled
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


@compiled
def _row_by_row(w, scale, bias, x, out):
    for row in range(w.shape[0]):
        a = f4(0.0)
        for i in range(w.shape[1]):
            a += f4(w[row, i]) * x[i]
        out[row] = a * scale[row] + bias[row]


def _block_of(w, row, block):
    """Return four rows in float32, read from memory one after the other: one stream is faster than four."""


@overload(_block_of, jit_options={"fastmath": _MATH})
def _block_of_kind(w, row, block):  # noqa: ARG001 - the signature of the function that it compiles
    def as_they_are(w, row, block):
        if w.size * w.itemsize >= _CACHED_BYTES:
            for k in range(4):
                for i in range(0, w.shape[1], 16):
                    block[k, 0] += w[row + k, i]
        return w[row : row + 4]

    def converted(w, row, block):
        for k in range(4):
            for i in range(w.shape[1]):
                block[k, i] = f4(w[row + k, i])
        return block

    return as_they_are if w.dtype == types.float32 else converted


@compiled
def _four_rows_for_four_texts(w, scale, bias, x, out, block):
    """Load each number once for four products; a core reaches 0.6 to 0.9 of its peak."""
    rows, columns = w.shape
    for row in range(0, rows - rows % 4, 4):
        four = _block_of(w, row, block)
        for n in range(0, x.shape[0] - x.shape[0] % 4, 4):
            a0, a1, a2, a3 = f4(0.0), f4(0.0), f4(0.0), f4(0.0)
            b0, b1, b2, b3 = f4(0.0), f4(0.0), f4(0.0), f4(0.0)
            c0, c1, c2, c3 = f4(0.0), f4(0.0), f4(0.0), f4(0.0)
            d0, d1, d2, d3 = f4(0.0), f4(0.0), f4(0.0), f4(0.0)
            for i in range(columns):
                a, b, c, d = four[0, i], four[1, i], four[2, i], four[3, i]
                x0, x1, x2, x3 = x[n, i], x[n + 1, i], x[n + 2, i], x[n + 3, i]
                a0, a1, a2, a3 = a0 + a * x0, a1 + a * x1, a2 + a * x2, a3 + a * x3
                b0, b1, b2, b3 = b0 + b * x0, b1 + b * x1, b2 + b * x2, b3 + b * x3
                c0, c1, c2, c3 = c0 + c * x0, c1 + c * x1, c2 + c * x2, c3 + c * x3
                d0, d1, d2, d3 = d0 + d * x0, d1 + d * x1, d2 + d * x2, d3 + d * x3
            out[n, row], out[n + 1, row], out[n + 2, row], out[n + 3, row] = a0, a1, a2, a3
            out[n, row + 1], out[n + 1, row + 1], out[n + 2, row + 1], out[n + 3, row + 1] = b0, b1, b2, b3
            out[n, row + 2], out[n + 1, row + 2], out[n + 2, row + 2], out[n + 3, row + 2] = c0, c1, c2, c3
            out[n, row + 3], out[n + 1, row + 3], out[n + 2, row + 3], out[n + 3, row + 3] = d0, d1, d2, d3
            for text in range(n, n + 4):
                for k in range(row, row + 4):
                    out[text, k] = out[text, k] * scale[k] + bias[k]


@compiled
def _multiply(linear, layer, x, out, block):
    """Store the products of a layer's matrix and the first columns of each row of x (N, ...) in out (N, rows)."""
    weights, scales, biases = linear
    w, scale, bias = weights[layer], scales[layer], biases[layer]
    fours, done = x.shape[0] - x.shape[0] % 4, w.shape[0] - w.shape[0] % 4
    if fours:
        _four_rows_for_four_texts(w, scale, bias, x, out, block)
        for n in range(fours if done < w.shape[0] else 0):
            _row_by_row(w[done:], scale[done:], bias[done:], x[n], out[n, done:])
    for n in range(fours, x.shape[0]):
        if w.size * w.itemsize < _CACHED_BYTES:
            _four_rows_at_once(w, scale, bias, x[n], out[n])
        else:  # one stream is read from memory faster than four
            _row_by_row(w, scale, bias, x[n], out[n])


@compiled
def _normalize(norm, gain_and_bias, x, out):
    """Normalize each row of x (N, C)."""
    size = x.shape[1]
    for n in range(x.shape[0]):
        mean, squares, factor = f4(0.0), f4(0.0), f4(1.0)
        if norm == 2:
            for i in range(size):
                mean += x[n, i]
            mean /= f4(size)
        if norm:
            for i in range(size):
                squares += (x[n, i] - mean) * (x[n, i] - mean)
            factor = f4(1.0) / np.sqrt(squares / f4(size) + f4(1e-5))
        for i in range(size):
            out[n, i] = (x[n, i] - mean) * factor * gain_and_bias[0, i] + gain_and_bias[1, i]


@compiled
def _write(residual, x, stream):
    """Add a sublayer's output (N, C) to the residual stream, or replace the stream by it."""
    for n in range(x.shape[0]):
        for i in range(x.shape[1]):
            stream[n, i] = x[n, i] + (stream[n, i] if residual else f4(0.0))


@compiled
def _place(normalizes, cos, sin, position, vector):
    """Normalize and rotate one query or key (D,), if the model does."""
    size, half = vector.shape[0], vector.shape[0] // 2
    if normalizes:
        squares = f4(0.0)
        for i in range(size):
            squares += vector[i] * vector[i]
        factor = f4(1.0) / np.sqrt(squares / f4(size) + f4(1.1920929e-7))  # the default epsilon of rms_norm
        for i in range(size):
            vector[i] *= factor
    if cos.shape[0] > 1:
        for i in range(half):
            left, right = vector[i], vector[i + half]
            vector[i] = left * cos[position, i] - right * sin[position, i]
            vector[i + half] = left * sin[position, i] + right * cos[position, i]


@compiled
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


@compiled
def _softmax(scores, scale):
    """Replace the scores (count,) by the softmax of their products with a scale."""
    largest, total = scores[0] * scale, f4(0.0)
    for t in range(scores.shape[0]):
        largest = max(largest, scores[t] * scale)
    for t in range(scores.shape[0]):
        scores[t] = exp(scores[t] * scale - largest)
        total += scores[t]
    for t in range(scores.shape[0]):
        scores[t] /= total


@compiled
def _mix(weights, values, z):
    """Store the sum of values (count, D), weighted by weights (count,), in z (D,)."""
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


@compiled
def _attend(position, qk_norm, scale, cos, sin, keys, values, weights, qkv, z):
    """Store the concatenated outputs of a layer's heads for one text in z (C,); keys and values are (G, T, D)."""
    groups, size, count, width = keys.shape[0], keys.shape[2], position + 1, z.shape[0]
    heads = width // size
    if qk_norm or cos.shape[0] > 1:
        for vector in range(heads + groups):
            _place(qk_norm, cos, sin, position, qkv[vector * size : (vector + 1) * size])
    for group in range(groups):
        at = width + group * size
        for d in range(size):
            keys[group, position, d] = qkv[at + d]
            values[group, position, d] = qkv[at + groups * size + d]
    for head in range(heads):
        group, start, end = head // (heads // groups), head * size, (head + 1) * size
        _score(qkv[start:end], keys[group, :count], weights[:count])
        _softmax(weights[:count], scale)
        _mix(weights[:count], values[group, :count], z[start:end])


@compiled
def _activate(activation, hidden, size):
    """Apply the nonlinearity in place; for a gated one, hidden has twice the size and its first half is the gate."""
    if activation == 0:
        for i in range(size):
            hidden[i] = max(hidden[i], f4(0.0))
    elif activation == 1:
        for i in range(size):
            hidden[i] *= f4(0.5) * (f4(1.0) + _erf(hidden[i] * _SQRT_HALF))
    elif activation == 2:  # half of 1 + tanh(u) is 1 / (1 + exp(-2 u))
        for i in range(size):
            u = _TANH_SCALE * (hidden[i] + f4(0.044715) * hidden[i] * hidden[i] * hidden[i])
            hidden[i] /= f4(1.0) + exp(f4(-2.0) * u)
    elif activation == 3:
        for i in range(size):
            hidden[i] = hidden[i] / (f4(1.0) + exp(-hidden[i])) * hidden[size + i]
    else:
        for i in range(size):
            hidden[i] = max(hidden[i], f4(0.0)) * max(hidden[i], f4(0.0))


@compiled
def _look_one_back(shift, tokens, read, id, position, stream):
    """Add the weighted embedding of a text's previous token to that of the next one (C,); store the next one's id."""
    read[position] = id
    if position:
        for i in range(shift.shape[0]):
            stream[i] += shift[i] * tokens[read[position - 1], i]


@compiled
def step(texts, ids, positions, switches, model, state):
    """Read one token of each of the texts (N,) at its position: extend keys and values, and store the next logits."""
    # Unpacked once, because each access to a tuple counts references. The tuples are plain ones, which Numba recognizes
    # in a third of the time.
    norm, activation, residual, qk_norm, scale = switches
    tokens, table, shift, bigram, norms, cos, sin, c_attn, attn_proj, c_fc, mlp_proj, lm_head = model
    keys, values, read, stream, normed, qkv, weights, z, hidden, scores, logits, block = state
    layers, neurons, count = keys.shape[1], mlp_proj[0].shape[2], len(texts)
    stream, normed, qkv, z, hidden = stream[:count], normed[:count], qkv[:count], z[:count], hidden[:count]
    for n in range(count):
        stream[n] = tokens[ids[n]] + table[positions[n]]
        if shift.shape[0]:
            _look_one_back(shift, tokens, read[texts[n]], ids[n], positions[n], stream[n])
    for layer in range(layers):
        _normalize(norm, norms[2 * layer], stream, normed)
        _multiply(c_attn, layer, normed, qkv, block)
        for n in range(count):
            own = keys[texts[n], layer], values[texts[n], layer]
            _attend(positions[n], qk_norm, scale, cos, sin, own[0], own[1], weights, qkv[n], z[n])
        _multiply(attn_proj, layer, z, normed, block)
        _write(residual, normed, stream)
        if neurons:
            _normalize(norm, norms[2 * layer + 1], stream, normed)
            _multiply(c_fc, layer, normed, hidden, block)
            for n in range(count):
                _activate(activation, hidden[n], neurons)
            _multiply(mlp_proj, layer, hidden, normed, block)
            _write(residual, normed, stream)
    _normalize(norm, norms[2 * layers], stream, normed)
    _multiply(lm_head, 0, normed, scores[:count], block)
    for n in range(count):
        logits[texts[n]] = scores[n]
        if bigram.shape[0] > 1:
            logits[texts[n]] += bigram[ids[n]]
