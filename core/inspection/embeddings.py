"""Where a model puts its tokens, and which ones it treats alike. V tokens, C numbers each."""

from typing import Literal

import numpy as np

from core.model import GPT, Bigram

# Up to this size an exact decomposition takes a moment; beyond it, only the few directions needed are sought.
_EXACT_UP_TO = 512


def token_embeddings(model: GPT | Bigram) -> np.ndarray:
    """One row for each token: (V, C) float32. For a bigram model the row of its table: what follows the token."""
    table = model.transformer.wte if isinstance(model, GPT) else model.token_embedding_table
    return table.weight.detach().float().cpu().numpy().copy()


def project(
    vectors: np.ndarray, method: Literal["pca", "tsne"] = "pca", dimensions: Literal[2, 3] = 2, seed: int = 0
) -> np.ndarray:
    """The rows of `vectors` (V, C) as points that can be drawn: (V, dimensions) float32, the same for the same seed.

    pca: the directions in which they differ most (Pearson 1901); distances keep their meaning. Directions that do not
    exist (few tokens, or all alike) are 0.
    tsne: keeps neighbours together and says nothing about far distances (van der Maaten and Hinton 2008). Fewer than
    four different rows have no neighbourhoods, and are projected as with pca.
    """
    if method not in ("pca", "tsne"):
        raise ValueError(f"method must be 'pca' or 'tsne', not {method!r}")
    points = _principal_components(np.asarray(vectors, dtype=np.float64), dimensions, seed)
    if method == "pca" or len(np.unique(vectors, axis=0)) < 4:
        return points.astype(np.float32)
    from sklearn.manifold import TSNE  # takes a second to import; a worker only ever draws with pca

    # The published start: the first principal components, very small, so that the outcome does not hang on luck.
    start = points / points[:, 0].std() * 1e-4
    tsne = TSNE(dimensions, perplexity=min(30, (len(points) - 1) / 3), init=start.astype(np.float32), random_state=seed)
    return tsne.fit_transform(np.asarray(vectors, dtype=np.float32))


def align(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Turn, mirror and shift `points` (V, d) to lie as close as possible to `reference` (V, d).

    The map of a model that learns then moves instead of jumping: a projection's axes may swap or flip at any step.
    Size is kept, so distances stay true (orthogonal Procrustes problem, Schönemann 1966).
    """
    if points.shape != reference.shape:
        raise ValueError(f"points have shape {points.shape}, but the reference {reference.shape}")
    middle, target = points.mean(axis=0), reference.mean(axis=0)
    u, _, vt = np.linalg.svd((points - middle).T @ (reference - target))
    return ((points - middle) @ (u @ vt) + target).astype(points.dtype)


def nearest(vectors: np.ndarray, index: int, count: int) -> list[tuple[int, float]]:
    """The `count` rows most alike row `index`, best first, with their cosine from -1 to 1; itself left out.

    A row of zeros has no direction: its cosine to everything is 0.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    products = lengths * lengths[index]
    cosines = np.divide(vectors @ vectors[index], products, out=np.zeros(len(vectors)), where=products > 0)
    order = np.argsort(-cosines, kind="stable")
    return [(int(other), float(np.clip(cosines[other], -1, 1))) for other in order if other != index][:count]


def _principal_components(vectors: np.ndarray, dimensions: int, seed: int) -> np.ndarray:
    """(V, dimensions), each column's sign chosen so that its direction's largest number is positive."""
    centred = vectors - vectors.mean(axis=0)
    if min(centred.shape) <= _EXACT_UP_TO:
        u, scale, directions = np.linalg.svd(centred, full_matrices=False)
    else:
        from sklearn.utils.extmath import randomized_svd

        u, scale, directions = randomized_svd(centred, dimensions, random_state=seed)
    kept = min(dimensions, len(scale))
    largest = np.abs(directions[:kept]).argmax(axis=1)
    points = np.zeros((len(vectors), dimensions))
    points[:, :kept] = u[:, :kept] * scale[:kept] * np.sign(directions[np.arange(kept), largest])
    return points
