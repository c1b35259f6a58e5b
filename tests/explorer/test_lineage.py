"""The history of a fork: the steps and losses of its ancestors."""

from core.runs.ancestry import fork, fork_config
from explorer.widgets.run_rows import fork_verdict, parent_curve, validation_of


def test_a_run_from_scratch_has_no_parent_curve(explorer_home, finished_run):
    assert parent_curve(explorer_home, finished_run.record()) is None


def test_a_fork_of_a_fork_continues_the_steps_and_seconds_of_both_ancestors(explorer_home, finished_run):
    first = [step for step, _unused in finished_run.snapshots()][1]
    child = fork(explorer_home, finished_run, first, fork_config(finished_run))
    past = parent_curve(explorer_home, child.record())
    assert (past.step, past.parent_step, past.parent) == (first, first, finished_run.name)
    assert [row["step"] for row in past.rows] == [0, 10, 20]
    child.append("metrics", {"step": 0, "val_loss": 3.0, "seconds": 0.5})
    child.append("metrics", {"step": 4, "val_loss": 2.5, "seconds": 1.5})
    grandchild = parent_curve(explorer_home, child.record().model_copy(update={"parent": child.id, "parent_step": 4}))
    assert (grandchild.step, grandchild.parent_step) == (first + 4, 4)
    assert [row["step"] for row in grandchild.rows] == [*(s for s in (0, 10, 20) if s <= first), first, first + 4]
    assert grandchild.seconds == past.seconds + 1.5


def test_the_fork_step_is_known_after_the_parent_is_deleted(explorer_home, finished_run):
    child = fork(explorer_home, finished_run, 20, fork_config(finished_run))
    record = child.record().model_copy(update={"parent": "20250101-000000-aaaaaaaaaaaa"})
    past = parent_curve(explorer_home, record)
    assert (past.step, past.rows, past.mark) == (20, (), "from step 20 of a deleted run")


def test_a_fork_is_compared_with_its_parent_only_on_the_same_text(explorer_home, finished_run):
    ended = validation_of(finished_run)[-1]["val_loss"]
    assert fork_verdict(explorer_home, finished_run, finished_run.record()) == ""
    child = fork(explorer_home, finished_run, 20, fork_config(finished_run))
    assert fork_verdict(explorer_home, child, child.record()) == ""
    child.append("metrics", {"step": 0, "val_loss": ended, "seconds": 0.5})
    child.append("metrics", {"step": 4, "val_loss": ended - 0.25, "seconds": 1.5})
    assert fork_verdict(explorer_home, child, child.record()).endswith("0.250 lower.")
    child.append("metrics", {"step": 8, "val_loss": ended + 0.001, "seconds": 2.5})
    assert fork_verdict(explorer_home, child, child.record()).endswith("about the same.")
    elsewhere = child.record().config.replace({"data.corpus": "shakespeare"})
    for other in ({"corpus_hash": "0" * 64}, {"corpus_hash": None, "config": elsewhere}):  # their losses do not compare
        assert fork_verdict(explorer_home, child, child.record().model_copy(update=other)) == ""
