"""Token and position embeddings, their similarities and projections, and the bigram's table."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64, Real
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from core.interpretability.activations import PartError
from core.model import GPT, Bigram

Method = Literal["pca", "tsne", "umap"]

# Up to this size an exact decomposition is fast; above it, only the few directions needed are computed.
_EXACT_UP_TO = 512


def token_embeddings(model: GPT | Bigram) -> Float32[np.ndarray, "V C"]:
    """Return a row for each token; for a bigram model its table, the logits of the next token."""
    table = model.transformer.wte if isinstance(model, GPT) else model.token_embedding_table
    return table.weight.detach().float().cpu().numpy().copy()


def position_embeddings(model: GPT | Bigram) -> Float32[np.ndarray, "block_size C"]:
    """Return a row for each position, learned or sinusoidal; raises PartError without them."""
    if isinstance(model, GPT) and model.config.position == "learned":
        return model.transformer.wpe.weight.detach().float().cpu().numpy().copy()
    if isinstance(model, GPT) and model.config.position == "sinusoidal":
        return model.waves.float().cpu().numpy().copy()
    raise PartError(
        "This model has no position embedding: "
        + {
            "rope": "it rotates queries and keys by their position (RoPE).",
            "alibi": "its attention scores fall with the distance of a token (ALiBi).",
        }.get(model.config.position if isinstance(model, GPT) else "", "it cannot tell where a token is.")
    )


def cosines(vectors: Real[np.ndarray, "N C"]) -> Float32[np.ndarray, "N N"]:
    """Return the cosine similarity of any two rows; 0 for a row of zeros."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.clip(units @ units.T, -1, 1).astype(np.float32)


class FourierComponents(NamedTuple):
    """The Fourier transform, over the numbers 0 to P - 1, of their embeddings."""

    power: Float32[np.ndarray, "K"]  # share of the variance at frequencies 1 to P // 2
    strongest: int  # the frequency with the largest share
    circle: Float32[np.ndarray, "P 2"]  # the numbers projected on that frequency's cosine and sine directions


def fourier_components(vectors: Real[np.ndarray, "P C"]) -> FourierComponents:
    """Return how much of the embeddings of P numbers each frequency explains, as Nanda (2023) did for grokked models.

    A model that adds modulo P by rotation uses few frequencies k, and for each its numbers n lie on a circle at the
    angles 2 pi k n / P. Raises ValueError for fewer than three numbers.
    """
    if len(vectors) < 3:
        raise ValueError(f"a circle takes three numbers at least, not {len(vectors)}")
    centered = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0)
    spectrum = np.fft.rfft(centered, axis=0)[1:]  # (P // 2, C)
    power = np.square(np.abs(spectrum)).sum(axis=1)
    if len(vectors) % 2:
        power *= 2  # every frequency occurs twice, as itself and its negative, except the last one of an even P
    else:
        power[:-1] *= 2
    total = power.sum()
    best = int(power.argmax())
    directions = np.stack([spectrum[best].real, -spectrum[best].imag])  # (2, C)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    units = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    share = power / total if total > 0 else power
    return FourierComponents(share.astype(np.float32), best + 1, (centered @ units.T).astype(np.float32))


def own_axes(
    vectors: Real[np.ndarray, "V C"], axes: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> Float32[np.ndarray, "V {len(axes)}"]:
    """Project tokens on axes between groups of tokens.

    Each axis leads from the mean of one group of rows, at 0, to the mean of another, at 1: for example, from
    lowercase letters to capitals. Raises ValueError for an empty group, or two groups with the same mean.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    points = np.zeros((len(vectors), len(axes)))
    for column, (start, end) in enumerate(axes):
        if not len(start) or not len(end):
            raise ValueError("an axis needs at least one token at either end")
        origin = vectors[list(start)].mean(axis=0)
        direction = vectors[list(end)].mean(axis=0) - origin
        if not (length := direction @ direction):
            raise ValueError("both ends of an axis are the same, so it has no direction")
        points[:, column] = (vectors - origin) @ direction / length
    return points.astype(np.float32)


def methods() -> tuple[Method, ...]:
    """Return the projection methods of this installation: UMAP only if umap-learn is installed."""
    return ("pca", "tsne", "umap") if find_spec("umap") else ("pca", "tsne")


def project_along(tables: Sequence[Real[np.ndarray, "V C"]]) -> Float32[np.ndarray, "{len(tables)} V 2"]:
    """Project the rows at several training steps onto the last step's principal components."""
    tables = [np.asarray(table, dtype=np.float64) for table in tables]
    mean, directions = tables[-1].mean(axis=0), _directions(tables[-1], 2, seed=0)
    return np.stack([(table - mean) @ directions.T for table in tables]).astype(np.float32)


def project(
    vectors: Real[np.ndarray, "V C"], method: str = "pca", dimensions: Literal[2, 3] = 2, seed: int = 0
) -> Float32[np.ndarray, "V {dimensions}"]:
    """Project the rows of `vectors`, deterministically for a given seed.

    pca: the directions in which they differ most (Pearson 1901); distances keep their meaning. Directions that do not
    exist (few tokens, or all alike) are 0.
    tsne: keeps neighbors together; large distances mean nothing (van der Maaten and Hinton 2008). Fewer than four
    different rows are projected with pca.
    umap: like tsne, and keeps some large distances (McInnes 2018); only if umap-learn is installed (`methods`).

    Raises ValueError for another method.
    """
    if method not in methods():
        raise ValueError(f"method must be one of {', '.join(methods())}, not {method!r}")
    vectors = np.asarray(vectors, dtype=np.float64)
    points = (vectors - vectors.mean(axis=0)) @ _directions(vectors, dimensions, seed).T
    if method == "pca" or len(np.unique(vectors, axis=0)) < 4:
        return points.astype(np.float32)
    if method == "umap":
        from umap import UMAP  # takes seconds to import

        neighbors = min(15, len(vectors) - 1)
        umap = UMAP(neighbors, dimensions, metric="euclidean", init="pca", random_state=seed, n_jobs=1)
        return umap.fit_transform(vectors.astype(np.float32)).astype(np.float32)
    from sklearn.manifold import TSNE  # takes a second to import; workers only use pca

    # The published initialization: the first principal components, very small, so that the result does not vary.
    start = points / points[:, 0].std() * 1e-4
    tsne = TSNE(dimensions, perplexity=min(30, (len(points) - 1) / 3), init=start.astype(np.float32), random_state=seed)
    # Its thousand small steps are slower on two threads: 65 letters take 0.1 s on one core, 0.9 s on two.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(np.asarray(vectors, dtype=np.float32))


def align(points: Float[np.ndarray, "V dim"], reference: Float[np.ndarray, "_ _"]) -> Float[np.ndarray, "V dim"]:
    """Rotate, reflect and shift `points` to lie as close as possible to `reference`.

    A projection's axes may swap or flip from step to step (orthogonal Procrustes problem, Schönemann 1966). Raises
    ValueError if the shapes differ.
    """
    if points.shape != reference.shape:
        raise ValueError(f"points have shape {points.shape}, but the reference {reference.shape}")
    middle, target = points.mean(axis=0), reference.mean(axis=0)
    u, _, vt = np.linalg.svd((points - middle).T @ (reference - target))
    return ((points - middle) @ (u @ vt) + target).astype(points.dtype)


def nearest(vectors: Float[np.ndarray, "V C"], index: int, count: int) -> list[tuple[int, float]]:
    """Return the `count` rows most similar to row `index`, excluding itself, with their cosines from -1 to 1."""
    lengths = np.linalg.norm(vectors, axis=1)
    products = lengths * lengths[index]
    cosines = np.divide(vectors @ vectors[index], products, out=np.zeros(len(vectors)), where=products > 0)
    order = np.argsort(-cosines, kind="stable")
    return [(int(other), float(np.clip(cosines[other], -1, 1))) for other in order if other != index][:count]


def _directions(vectors: np.ndarray, dimensions: int, seed: int) -> np.ndarray:
    """Return the principal directions (dimensions, C), of length 1, the largest entry positive; the rest is 0."""
    centred = vectors - vectors.mean(axis=0)
    if min(centred.shape) <= _EXACT_UP_TO:
        components = np.linalg.svd(centred, full_matrices=False)[2][:dimensions]
    else:
        from sklearn.utils.extmath import randomized_svd

        components = randomized_svd(centred, dimensions, random_state=seed)[2]
    directions = np.zeros((dimensions, vectors.shape[1]))
    largest = np.abs(components).argmax(axis=1)
    directions[: len(components)] = components * np.sign(components[np.arange(len(components)), largest])[:, None]
    return directions


class Tables(NamedTuple):
    """A bigram's learned and counted probabilities: row i is for the token after token i."""

    learned: Float32[np.ndarray, "V V"]  # probabilities; every row sums to 1
    counted: Float32[np.ndarray, "V V"]  # the same; 1 / V in a row without counts
    difference: Float32[np.ndarray, "V V"]  # learned - counted
    row_counts: Int64[np.ndarray, "V"]  # the counts of each row: rare rows are learned poorly


def compare_tables(model: Bigram, ids: ArrayLike) -> Tables:
    """Compare the model's table with the pairs counted in its training text, ids (N,), without smoothing."""
    V = model.vocab_size
    ids = np.asarray(ids, dtype=np.int64)
    counts = np.bincount(ids[:-1] * V + ids[1:], minlength=V * V).reshape(V, V)
    row_counts = counts.sum(axis=1)
    counted = np.where(row_counts[:, None] > 0, counts / np.maximum(row_counts, 1)[:, None], 1 / V).astype(np.float32)
    learned = model.table().float().cpu().numpy()
    return Tables(learned, counted, learned - counted, row_counts)
