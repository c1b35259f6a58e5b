from collections import Counter
from itertools import pairwise

import numpy as np

from core.interpretability.bigram_table import compare_tables
from tests.core.interpretability.conftest import VOCAB_SIZE


def test_the_learned_table_beside_the_counted_one(bigram):
    ids = [*np.random.default_rng(0).integers(VOCAB_SIZE - 2, size=300).tolist(), VOCAB_SIZE - 1]
    tables = compare_tables(bigram, ids)
    pairs, firsts = Counter(pairwise(ids)), Counter(ids[:-1])
    for i in range(VOCAB_SIZE - 2):
        expected = [pairs[i, j] / firsts[i] for j in range(VOCAB_SIZE)]
        np.testing.assert_allclose(tables.counted[i], expected, rtol=1e-5)
        assert tables.seen[i] == firsts[i]
    np.testing.assert_allclose(tables.counted[-2:], 1 / VOCAB_SIZE, rtol=1e-6)  # never seen, and seen only at the end
    assert tables.seen[-2:].tolist() == [0, 0]
    np.testing.assert_array_equal(tables.learned, bigram.table().numpy())
    np.testing.assert_array_equal(tables.difference, tables.learned - tables.counted)
