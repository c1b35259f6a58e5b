from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from sklearn.decomposition import PCA

from core.interpretability.activations import PartError
from core.interpretability.embeddings import (
    align,
    compare_tables,
    cosines,
    fourier_components,
    methods,
    nearest,
    own_axes,
    position_embeddings,
    project,
    project_along,
    token_embeddings,
)
from core.model.gpt import sinusoidal_positions
from tests.core.interpretability.conftest import VOCAB_SIZE, make


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)


def test_token_embeddings_of_a_gpt_are_a_copy_of_its_embedding_table(gpt):
    vectors = token_embeddings(gpt)
    np.testing.assert_array_equal(vectors, gpt.transformer.wte.weight.detach().numpy())
    vectors[:] = 0  # a copy: the model does not change
    assert gpt.transformer.wte.weight.any()


def test_token_embeddings_of_a_bigram_model_are_the_rows_of_its_table(bigram):
    assert token_embeddings(bigram).shape == (VOCAB_SIZE, VOCAB_SIZE)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("shape", [(40, 16), (10, 30), (5, 3)])
def test_pca_matches_scikit_learn(dimensions, shape):
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
def test_any_number_of_tokens_projects_to_finite_points(method, dimensions):
    for vectors in (np.ones((2, 8)), np.eye(2, 8), np.eye(3, 8), np.eye(4, 8), np.zeros((6, 8)), np.ones((1, 8))):
        points = project(vectors, method, dimensions)
        assert points.shape == (len(vectors), dimensions) and np.isfinite(points).all()


def test_tsne_keeps_clusters_together_and_is_deterministic():
    rng = np.random.default_rng(3)
    groups = np.repeat(rng.normal(size=(3, 16)) * 20, 8, axis=0) + rng.normal(size=(24, 16))
    points = project(groups, "tsne", seed=5)
    np.testing.assert_array_equal(points, project(groups, "tsne", seed=5))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.diag(np.full(24, np.inf))
    assert all(distances[i].argmin() // 8 == i // 8 for i in range(24))


def test_an_unknown_projection_method_is_refused(vectors):
    with pytest.raises(ValueError, match="method must be one of pca, tsne.*, not 'mds'"):
        project(vectors, "mds")


@pytest.mark.parametrize("dimensions", [2, 3])
def test_align_undoes_rotation_reflection_and_translation(vectors, dimensions):
    reference = project(vectors, dimensions=dimensions)
    rotation, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(dimensions, dimensions)))
    moved = (reference * np.array([-1] + [1] * (dimensions - 1)) @ rotation + 7).astype(np.float32)
    np.testing.assert_allclose(align(moved, reference), reference, rtol=1e-3, atol=1e-3)


def test_align_preserves_distances(vectors):
    points, reference = project(vectors), project(vectors[::-1] * 3)
    aligned = align(points, reference)
    assert aligned.dtype == points.dtype
    np.testing.assert_allclose(
        np.linalg.norm(aligned[:, None] - aligned[None], axis=-1),
        np.linalg.norm(points[:, None] - points[None], axis=-1),
        rtol=1e-3,
        atol=1e-3,
    )


def test_aligning_points_of_different_shapes_is_refused(vectors):
    with pytest.raises(ValueError, match=r"points have shape \(40, 2\), but the reference \(40, 3\)"):
        align(project(vectors), project(vectors, dimensions=3))


def test_nearest_sorts_by_cosine_and_excludes_the_token_itself():
    vectors = np.array([[1, 0], [5, 0.1], [0, 2], [-3, 0], [1, 1], [0, 0]])
    found = nearest(vectors, 0, 10)
    assert [index for index, _ in found] == [1, 4, 2, 5, 3]
    np.testing.assert_allclose([cosine for _, cosine in found], [0.9998, 0.70711, 0, 0, -1], atol=1e-4)
    assert nearest(vectors, 0, 2) == found[:2]


def test_a_zero_vector_has_cosine_zero_with_every_other():
    assert [cosine for _, cosine in nearest(np.array([[0.0, 0], [1, 1]]), 0, 5)] == [0]


def test_umap_is_offered_only_if_installed(monkeypatch, vectors):
    monkeypatch.setattr("core.interpretability.embeddings.find_spec", lambda name: None)
    assert methods() == ("pca", "tsne")
    with pytest.raises(ValueError, match="method must be one of pca, tsne, not 'umap'"):
        project(vectors, "umap")
    monkeypatch.setattr("core.interpretability.embeddings.find_spec", lambda name: object())
    assert methods() == ("pca", "tsne", "umap")


def test_position_embeddings_are_the_learned_or_sinusoidal_table(gpt):
    np.testing.assert_array_equal(position_embeddings(gpt), gpt.transformer.wpe.weight.detach())
    waves = position_embeddings(make(position="sinusoidal"))
    np.testing.assert_array_equal(waves, sinusoidal_positions(12, 16))


@pytest.mark.parametrize(
    ("switch", "why"),
    [
        ({"position": "rope"}, "rotates queries and keys by their position"),
        ({"position": "none"}, "cannot tell where a token is"),
        ({"kind": "bigram"}, "cannot tell where a token is"),
    ],
)
def test_a_model_without_position_embeddings_is_refused_with_the_reason(switch, why):
    with pytest.raises(PartError, match=f"no position embedding: it {why}"):
        position_embeddings(make(**switch))


def test_cosines_are_computed_for_every_pair_of_rows():
    vectors = np.array([[1, 0], [5, 5], [-2, 0], [0, 0]])
    half = 0.5**0.5
    expected = [[1, half, -1, 0], [half, 1, -half, 0], [-1, -half, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(cosines(vectors), expected, atol=1e-6)


def test_own_axes_run_from_0_at_one_group_to_1_at_the_other(vectors):
    points = own_axes(vectors, [([0, 1], [2, 3, 4]), ([5], [6])])
    assert points.shape == (40, 2) and points.dtype == np.float32
    assert points[[0, 1], 0].mean() == pytest.approx(0, abs=1e-5)
    assert points[[2, 3, 4], 0].mean() == pytest.approx(1, abs=1e-5)
    assert points[[5, 6], 1] == pytest.approx([0, 1], abs=1e-5)
    start, end = vectors[:2].mean(axis=0), vectors[2:5].mean(axis=0)
    for row in (7, 20):  # the coordinate is the position of the perpendicular's foot along the axis
        foot = start + points[row, 0] * (end - start)
        assert np.dot(vectors[row] - foot, end - start) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("axis", "why"), [(([], [1]), "at least one token"), (([1, 2], [2, 1]), "no direction")])
def test_an_axis_without_direction_is_refused(vectors, axis, why):
    with pytest.raises(ValueError, match=why):
        own_axes(vectors, [axis])


def growing(vectors):
    """Return tables that grow from a small one and rotate a little at every step."""
    rotation, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(16, 16)) * 0.1 + np.eye(16))
    return [vectors * moment / 4 @ np.linalg.matrix_power(rotation, 4 - moment) for moment in range(1, 5)]


def test_project_along_uses_the_principal_axes_of_the_last_table(vectors):
    tables = growing(vectors)
    points = project_along(tables)
    assert points.shape == (4, 40, 2)
    pca = PCA(2, svd_solver="full").fit(tables[-1])
    for moment in range(4):
        np.testing.assert_allclose(points[moment], pca.transform(tables[moment]), rtol=1e-3, atol=1e-3)


def test_aligned_tsne_of_successive_tables_moves_less_than_unaligned(vectors):
    tables = growing(vectors)
    points = [project(tables[-1], "tsne", seed=1)]
    for table in reversed(tables[:-1]):
        points.insert(0, align(project(table, "tsne", seed=1), points[0]))
    for moment in range(3):
        alone = project(tables[moment], "tsne", seed=1)
        moved = np.linalg.norm(points[moment] - points[moment + 1])
        assert moved <= np.linalg.norm(alone - points[moment + 1]) + 1e-3
        np.testing.assert_allclose(  # rotated and shifted, never distorted
            np.linalg.norm(points[moment] - points[moment][::-1], axis=1),
            np.linalg.norm(alone - alone[::-1], axis=1),
            rtol=1e-2,
        )


def test_compare_tables_has_learned_and_counted_probabilities(bigram):
    ids = [*np.random.default_rng(0).integers(VOCAB_SIZE - 2, size=300).tolist(), VOCAB_SIZE - 1]
    tables = compare_tables(bigram, ids)
    pairs, firsts = Counter(pairwise(ids)), Counter(ids[:-1])
    for i in range(VOCAB_SIZE - 2):
        expected = [pairs[i, j] / firsts[i] for j in range(VOCAB_SIZE)]
        np.testing.assert_allclose(tables.counted[i], expected, rtol=1e-5)
        assert tables.row_counts[i] == firsts[i]
    np.testing.assert_allclose(
        tables.counted[-2:], 1 / VOCAB_SIZE, rtol=1e-6
    )  # one token never occurs, the other only at the end
    assert tables.row_counts[-2:].tolist() == [0, 0]
    np.testing.assert_array_equal(tables.learned, bigram.table().numpy())
    np.testing.assert_array_equal(tables.difference, tables.learned - tables.counted)


def test_fourier_components_find_the_frequency_of_numbers_on_a_circle():
    numbers, rng = np.arange(59)[:, None], np.random.default_rng(0)
    circle = np.hstack([np.cos(2 * np.pi * 7 * numbers / 59), np.sin(2 * np.pi * 7 * numbers / 59)])
    rotated = circle @ np.linalg.qr(rng.normal(size=(16, 2)))[0].T
    found = fourier_components(3 + rotated + 0.01 * rng.normal(size=(59, 16)))
    assert found.power.shape == (29,) and found.power.sum() == pytest.approx(1)
    assert found.strongest == 7 and found.power[6] > 0.98
    assert np.abs(found.circle - circle).max() < 0.1
    assert fourier_components(rng.normal(size=(58, 8))).power.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="three numbers at least, not 2"):
        fourier_components(np.ones((2, 4)))
