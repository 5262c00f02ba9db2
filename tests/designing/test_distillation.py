"""Whether the winner of a race gets a teacher: only a larger network that measurably helps."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from convwright.designing.candidates import Candidate
from convwright.designing.distillation import find_teacher, try_distillation
from convwright.designing.families import CandidateLimits
from convwright.designing.ideas import effects_of
from convwright.designing.state import State
from convwright.designing.trials import Trial, pack_bits
from convwright.scaling.budget import as_budget

from .first import first_candidates

IMAGES = 400


@dataclass
class Lessons:
    """Gives a student a fixed share of right images in place of training it."""

    folder: Path
    share: float
    teacher: float = 0.0
    """Share of a network that is over the budget."""
    control: float | None = None
    """Share of the winner when it is trained again."""
    clock: object = field(default_factory=lambda: type("Time", (), {"save": lambda self: None})())
    ran: list[Candidate] = field(default_factory=list)

    def run(self, candidate: Candidate, number: int, round_: int, seconds: float) -> Trial:
        self.ran.append(candidate)
        if candidate.name == "small" and self.control is not None:
            return trial(candidate.name, self.control, round_)
        return trial(candidate.name, self.share if "teacher" in candidate.fields else self.teacher, round_)


def trial(name: str, share: float, round_: int = 0) -> Trial:
    right = torch.arange(IMAGES) < share * IMAGES
    return Trial(name, round_, 0, f"race/{name}", share, pack_bits(right), IMAGES, 1.0, 10.0, 0.1)


@pytest.fixture
def state(tmp_path) -> State:
    """A race of a small winner and a larger network."""
    small, large = (
        next(
            each
            for each in first_candidates(28, 1, 10, CandidateLimits(as_budget(budget)))
            if isinstance(each, Candidate)
        )
        for budget in ("macs<=2M", "macs<=5M")
    )
    found = State(tmp_path, {})
    found.candidates = [
        Candidate("small", small.family, "small", small.network),
        Candidate("large", large.family, "large", large.network),
    ]
    found.rounds = [["small", "large"]]
    return found


def outcome(state: State, lessons: Lessons, left: float = 100, **options) -> Trial:
    return try_distillation(state, state.trials[0], lessons, left, lambda line: None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "helps"), [(0.95, True), (0.81, False), (0.7, False)])
def test_a_teacher_is_used_where_it_measurably_helps(state, tmp_path, share: float, helps: bool) -> None:
    state.trials = [trial("small", 0.8), trial("large", 0.79)]
    lessons = Lessons(tmp_path, share)
    found = outcome(state, lessons)
    assert (found.candidate == "small (distilled)") is helps
    assert lessons.ran[0].fields["teacher"].endswith("race/large")
    assert lessons.ran[0].network == state.candidate("small").network
    reason = state.decisions[-1].reason
    assert "percentage points" in reason
    assert "validation images" in reason
    assert outcome(state, lessons) == found, "a design that is resumed decides the same"
    assert len(lessons.ran) == 1, "and tries nothing again"
    assert State.open(tmp_path).trials == state.trials


@pytest.mark.parametrize(
    "trials",
    [
        [trial("small", 0.8), trial("large", 0.6)],
        [trial("large", 0.8), trial("small", 0.79)],
        [trial("small", 0.8)],
    ],
)
def test_nobody_learns_from_a_worse_or_smaller_network(state, tmp_path, trials: list[Trial]) -> None:
    state.trials = trials
    assert find_teacher(state, trials[0]) is None
    lessons = Lessons(tmp_path, 1.0)
    assert outcome(state, lessons) is trials[0]
    assert not lessons.ran
    assert "no larger network" in state.decisions[-1].reason


@pytest.mark.parametrize(("left", "started"), [(20, False), (100, True)])
def test_nothing_is_tried_without_time(state, tmp_path, left: float, started: bool) -> None:
    state.trials = [trial("small", 0.8), trial("large", 0.8)]
    lessons = Lessons(tmp_path, 1.0)
    assert outcome(state, lessons, left, started=started).candidate == "small"
    assert not lessons.ran
    assert "too little time" in state.decisions[-1].reason


@pytest.mark.parametrize(
    ("teacher", "share", "winner"), [(0.95, 0.9, "small (distilled)"), (0.95, 0.8, "small"), (0.81, 0.9, "small")]
)
def test_a_better_network_over_the_budget_may_teach(state, tmp_path, teacher: float, share: float, winner: str) -> None:
    state.trials = [trial("small", 0.8)]
    published = Candidate("huge", "huge", "over the budget", state.candidates[1].network, teacher_only=True)
    lessons = Lessons(tmp_path, share, teacher)
    found = outcome(state, lessons, 200, offered=lambda: published)
    assert found.candidate == winner
    tried = ["huge", "small (distilled)"] if teacher > 0.9 else ["huge"]
    assert [each.name for each in lessons.ran] == tried
    reasons = {each.decision: each.reason for each in state.decisions}
    assert reasons["huge is dropped"].startswith("it exceeds the budget")
    assert outcome(state, lessons, started=True) == found, "a design that is resumed decides the same"
    assert len(lessons.ran) == len(tried)


def test_a_network_over_the_budget_is_not_tried_without_time(state, tmp_path) -> None:
    state.trials = [trial("small", 0.8)]
    lessons = Lessons(tmp_path, 1.0, 1.0)
    published = Candidate("huge", "huge", "over the budget", state.candidates[1].network, teacher_only=True)
    assert outcome(state, lessons, 100, offered=lambda: published).candidate == "small"
    assert not lessons.ran


@pytest.mark.parametrize(("control", "share", "helps"), [(0.8, 0.9, True), (0.9, 0.9, False), (0.95, 0.85, False)])
def test_after_a_shared_race_the_winner_is_trained_again_to_compare(state, tmp_path, control, share, helps) -> None:
    state.plans = [{"seconds": 10.0, "until": 20.0}]
    state.trials = [trial("small", 0.7), trial("large", 0.72)]
    lessons = Lessons(tmp_path, share, control=control)
    found = outcome(state, lessons)
    assert [each.name for each in lessons.ran] == ["small", "small (distilled)"]
    assert (found.candidate == "small (distilled)") is helps
    assert outcome(state, lessons) == found, "a design that is resumed decides the same"
    assert len(lessons.ran) == 2
    effect = next(each for each in effects_of(state) if each.with_it == "small (distilled)")
    assert effect.pair.difference == pytest.approx(share - control)


def test_a_shared_race_checks_nothing_without_time_for_both(state, tmp_path) -> None:
    state.plans = [{"seconds": 10.0, "until": 20.0}]
    state.trials = [trial("small", 0.8), trial("large", 0.8)]
    lessons = Lessons(tmp_path, 1.0, control=0.5)
    assert outcome(state, lessons, 50) is state.trials[0]
    assert not lessons.ran
    assert "too little time" in state.decisions[-1].reason


def test_the_teacher_is_found_after_the_folder_has_moved(state, tmp_path) -> None:
    state.trials = [trial("small", 0.8), trial("large", 0.79)]
    outcome(state, Lessons(tmp_path, 0.95))
    state.trials.pop()  # the design was stopped in the check
    moved = Lessons(tmp_path / "elsewhere", 0.95)
    outcome(state, moved)
    assert [each.fields["teacher"] for each in moved.ran] == [str(tmp_path / "elsewhere/race/large")]
    assert len(state.candidates) == 3
