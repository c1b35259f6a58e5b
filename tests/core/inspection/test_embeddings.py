import numpy as np
import pytest
from sklearn.decomposition import PCA

from core.inspection.embeddings import align, nearest, project, token_embeddings
from tests.core.inspection.conftest import VOCAB_SIZE


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)


def test_a_gpts_tokens_are_its_embedding_table(gpt):
    vectors = token_embeddings(gpt)
    np.testing.assert_array_equal(vectors, gpt.transformer.wte.weight.detach().numpy())
    vectors[:] = 0  # a copy: the model is not touched
    assert gpt.transformer.wte.weight.any()


def test_a_bigram_models_tokens_are_the_rows_of_its_table(bigram):
    assert token_embeddings(bigram).shape == (VOCAB_SIZE, VOCAB_SIZE)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("shape", [(40, 16), (10, 30), (5, 3)])
def test_pca_is_scikit_learns(dimensions, shape):
    vectors = np.random.default_rng(1).normal(size=shape)
    expected = PCA(dimensions, svd_solver="full").fit_transform(vectors)
    points = project(vectors, "pca", dimensions)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, expected, rtol=1e-4, atol=1e-4)


def test_pca_of_a_large_table_is_close_to_exact():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(520, 2)) * [9, 5] @ rng.normal(size=(2, 515)) + rng.normal(size=(520, 515))
    np.testing.assert_allclose(project(vectors), PCA(2, svd_solver="full").fit_transform(vectors), rtol=1e-2, atol=0.5)


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_any_number_of_tokens_gives_finite_points(method, dimensions):
    for vectors in (np.ones((2, 8)), np.eye(2, 8), np.eye(3, 8), np.eye(4, 8), np.zeros((6, 8)), np.ones((1, 8))):
        points = project(vectors, method, dimensions)
        assert points.shape == (len(vectors), dimensions) and np.isfinite(points).all()


def test_tsne_keeps_groups_together_and_repeats_itself():
    rng = np.random.default_rng(3)
    groups = np.repeat(rng.normal(size=(3, 16)) * 20, 8, axis=0) + rng.normal(size=(24, 16))
    points = project(groups, "tsne", seed=5)
    np.testing.assert_array_equal(points, project(groups, "tsne", seed=5))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.diag(np.full(24, np.inf))
    assert all(distances[i].argmin() // 8 == i // 8 for i in range(24))


def test_an_unknown_method_is_refused(vectors):
    with pytest.raises(ValueError, match="method must be 'pca' or 'tsne', not 'umap'"):
        project(vectors, "umap")


@pytest.mark.parametrize("dimensions", [2, 3])
def test_aligning_undoes_turning_mirroring_and_shifting(vectors, dimensions):
    reference = project(vectors, dimensions=dimensions)
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(dimensions, dimensions)))
    moved = (reference * np.array([-1] + [1] * (dimensions - 1)) @ turn + 7).astype(np.float32)
    np.testing.assert_allclose(align(moved, reference), reference, rtol=1e-3, atol=1e-3)


def test_aligning_keeps_distances(vectors):
    points, reference = project(vectors), project(vectors[::-1] * 3)
    aligned = align(points, reference)
    assert aligned.dtype == points.dtype
    np.testing.assert_allclose(
        np.linalg.norm(aligned[:, None] - aligned[None], axis=-1),
        np.linalg.norm(points[:, None] - points[None], axis=-1),
        rtol=1e-3,
        atol=1e-3,
    )


def test_aligning_different_maps_is_refused(vectors):
    with pytest.raises(ValueError, match=r"points have shape \(40, 2\), but the reference \(40, 3\)"):
        align(project(vectors), project(vectors, dimensions=3))


def test_nearest_is_by_cosine_best_first_without_itself():
    vectors = np.array([[1, 0], [5, 0.1], [0, 2], [-3, 0], [1, 1], [0, 0]])
    found = nearest(vectors, 0, 10)
    assert [index for index, _ in found] == [1, 4, 2, 5, 3]
    np.testing.assert_allclose([cosine for _, cosine in found], [0.9998, 0.70711, 0, 0, -1], atol=1e-4)
    assert nearest(vectors, 0, 2) == found[:2]


def test_a_row_of_zeros_is_like_nothing():
    assert [cosine for _, cosine in nearest(np.array([[0.0, 0], [1, 1]]), 0, 5)] == [0]
