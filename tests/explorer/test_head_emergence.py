"""Captions of heads and embeddings, and the steps at which heads take their roles."""

import numpy as np

from core.interpretability import finish
from core.interpretability.head_roles import ROLES, HeadScores
from core.runs.folder import RunFolder
from core.runs.weights import steps_with_weights
from explorer.components.time_machine import TimeMachineState
from explorer.look_inside.frames import alike_in_words, heads_in_words
from explorer.look_inside.heads import emerged_heads, emergence_key, scores_now, scores_over_time, with_emergence
from explorer.look_inside.inspection import Inspection
from explorer.services import jobs, shared
from explorer.widgets.prompt import read_prompt
from tests.components import wait_for_jobs


def test_the_most_similar_embeddings_are_listed_once_per_pair():
    vectors = np.array([[1, 0], [2, 0.1], [0, 1], [-1, 0]], dtype=np.float32)
    assert alike_in_words(vectors, "abcd", 1) == "Most similar by cosine: 'a' and 'b' (1.00)."


def test_the_clearest_head_is_named():
    before = np.eye(6, k=-1, dtype=np.float32)
    before[0, 0] = 1
    even = np.tril(np.ones((6, 6), np.float32)) / np.arange(1, 7)[:, None]
    sentence = heads_in_words(np.stack([even, before])[None])
    assert "head 1.2, with 100% of its attention on the previous token. Heads with at least half on" in sentence
    assert "first token: 1 of 2." in sentence


def test_a_head_emerges_when_it_takes_its_last_role():
    def scores(previous: float):
        own = {role: np.array([[0.05, 0.05]]) for role in ROLES}
        return HeadScores(own | {"previous_token": np.array([[previous, 0.05]])}, dict.fromkeys(ROLES, 0.0))

    (emergence,) = emerged_heads([0, 10, 20, 40], [scores(share) for share in (0.1, 0.5, 0.6, 0.9)])
    assert (emergence.step, emergence.layer, emergence.head, emergence.words) == (10, 0, 0, "previous token")
    assert emerged_heads([0, 10], [scores(0.1), scores(0.1)]) == []


def inspect(run: RunFolder) -> Inspection:
    opened = shared.open_model(run.id, None)
    state = TimeMachineState("a", run.id, "", steps_with_weights(run), opened.step, 0)
    return Inspection(run, opened, read_prompt("", opened.tokenizer), state)


def test_heads_score_the_same_on_the_board_and_over_training(finished_run):
    inspection = inspect(finished_run)
    steps, scores = finish(scores_over_time(inspection))
    now = finish(scores_now(inspection))
    assert steps[-1] == inspection.opened.step
    assert all(np.array_equal(now.shares[role], scores[-1].shares[role]) for role in ROLES)


def test_without_readable_snapshots_no_emergence_is_shown(finished_run):
    inspection = inspect(finished_run)
    for _, path in finished_run.snapshots():
        path.write_bytes(b"")
    jobs._jobs.pop(emergence_key(inspection), None)
    assert with_emergence(inspection) is inspection
    wait_for_jobs()
    assert with_emergence(inspection) is inspection
    found = jobs._jobs.pop(emergence_key(inspection))  # the runs of other tests have the same id
    assert found.ended and not found.problem
