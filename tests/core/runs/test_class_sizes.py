"""Model sizes for a class: each student gets one, and only runs with these settings count for the scaling law."""

import pytest

from core.classroom import Classroom
from core.errors import ConfigError, TextError
from core.paths import is_shared, member_home
from core.runs.ancestry import new_run
from core.runs.class_sizes import config_of_size, hand_out_sizes, parse_size, size_of_member, sized_runs
from core.runs.worker import train_run
from core.text.own_text import save_text
from tests.conftest import TEXT

SIZES = "1x8, 1x16, 2x16, 2x24"


@pytest.fixture
def known(explorer_home):
    known = Classroom(explorer_home, "Physics 11b")
    for number in range(6):
        known.join(known.code, f"student {number}")
    known.change(most_running=9)
    return known


def test_students_are_assigned_sizes_in_rotation_with_distinct_seeds(known):
    members = sorted(known.members(), key=lambda member: member.joined)
    assert size_of_member(known, members[0].id) is None
    own = save_text(TEXT, "Hamlet", known.root)
    hand_out_sizes(known, SIZES, own.name, 20)
    assert is_shared(known.root, own.name)
    configs = [size_of_member(known, member.id) for member in members]
    assert [(config.model.n_layer, config.model.n_embd) for config in configs] == [
        (1, 8), (1, 16), (2, 16), (2, 24), (1, 8), (1, 16)
    ]  # fmt: skip
    assert len({config.train.seed for config in configs}) == len(configs)
    assert {(config.data.corpus, config.train.steps) for config in configs} == {(own.name, 20)}
    assert size_of_member(known, "nobody") is None


@pytest.mark.parametrize("sizes", ["", "1x8, 2x16, 4x32", "1x8, 1x8, 1x8, 1x8", "a, b, c, d", "1x7, 1x8, 1x16, 1x24"])
def test_too_few_or_impossible_sizes_are_refused(known, sizes):
    with pytest.raises(ConfigError, match="Write"):
        hand_out_sizes(known, sizes, "shakespeare", 20)
    with pytest.raises(TextError):
        hand_out_sizes(known, SIZES, "text-gone", 20)
    assert known.settings.sizes == []


def test_only_finished_runs_with_the_assigned_settings_count(known):
    text = save_text(TEXT, "Hamlet", known.root).name
    hand_out_sizes(known, SIZES, text, 20)
    member = min(known.members(), key=lambda member: member.joined).id
    home, config = member_home(known.root, member), size_of_member(known, member)
    larger = config_of_size(known.settings, parse_size("1x32"))
    trained = [(home, config), (home, config.replace({"train.learning_rate": 1e-3})), (known.root, larger)]
    for data_dir, settings in trained:
        train_run(new_run(data_dir, settings), data_dir)
    new_run(home, config)  # waits
    runs = sized_runs(known)
    assert [(run.member, str(run.size), run.is_handed_out) for run in runs] == [
        (member, "1x8", True), ("", "1x32", False)
    ]  # fmt: skip
    assert runs[0].parameters < runs[1].parameters and all(0 < run.loss < 5 for run in runs)
