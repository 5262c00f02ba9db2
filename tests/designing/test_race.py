"""The race: which candidates go on, and that a stopped race repeats no trial."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from statistics import median

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convwright.designing.candidates import Candidate
from convwright.designing.families import CandidateLimits
from convwright.designing.race import (
    GROWTH,
    MAX_FIRST_ROUND,
    SHORT_TRIAL_SECONDS,
    WORSE,
    Race,
    first_round_room,
    first_trial_seconds,
    minutes_for,
    room_of,
    shares_of,
)
from convwright.designing.state import State
from convwright.designing.time_plan import TimePlan
from convwright.designing.trials import NO_TIME, OUT_OF_TIME, TOO_LITTLE_SHARE, Trial, pack_bits
from convwright.errors import ConvwrightError
from convwright.scaling.budget import as_budget

from .first import first_candidates

LIMITS = CandidateLimits(as_budget("macs<=5M"))
IMAGES = 400


class Time:
    """A clock that the trials of a test move on."""

    passed = 0.0

    def save(self) -> None:
        """Keep nothing."""


@dataclass
class Judge:
    """Gives each candidate a fixed accuracy in place of training it, which takes the time that it is given."""

    shares: dict[str, float]
    clock: Time = field(default_factory=Time)
    stop_after: int = 1000
    slower: float = 1.0
    """Factor by which trials take longer than planned."""
    ran: list[tuple[str, int]] = field(default_factory=list)
    given: list[float] = field(default_factory=list)
    """Seconds of each trial."""

    def started(self, number: int, round_: int) -> bool:
        """Return that no trial is continued."""
        return False

    def run(
        self, candidate: Candidate, number: int, round_: int, seconds: float, callbacks: Sequence[object] = ()
    ) -> Trial:
        """Return a trial of the candidate's accuracy."""
        if len(self.ran) == self.stop_after:
            raise KeyboardInterrupt
        self.ran.append((candidate.name, round_))
        self.given.append(seconds)
        self.clock.passed += self.slower * seconds
        share = self.shares.get(candidate.name, 0.5)
        if share < 0:
            return Trial(candidate.name, round_, 0, "", 0.0, "", 0, 0.0, seconds, problem="diverged")
        right = torch.arange(IMAGES) < share * IMAGES
        return Trial(candidate.name, round_, 0, "", share, pack_bits(right), IMAGES, 1.0, seconds, 0.1)


@cache
def candidates() -> list[Candidate]:
    return [each for each in first_candidates(28, 1, 10, LIMITS) if isinstance(each, Candidate)]


def state_in(folder) -> State:
    return State(folder, {}, candidates=[*candidates()])


def race(state: State, judge: Judge, seconds: float = 1000) -> Race:
    return Race(state, judge, LIMITS, seconds, lambda line: None)  # type: ignore[arg-type]


def test_the_best_candidate_wins_and_every_other_has_a_reason(tmp_path) -> None:
    state, judge = state_in(tmp_path), Judge({"ResNet": 0.9, "DenseNet-BC": 0.85})
    best = race(state, judge).run()
    assert best.candidate == "ResNet"
    last = {trial.candidate for trial in state.trials_of(2)}
    reasons = {each.decision for each in state.decisions}
    for candidate in state.candidates:
        assert candidate.name in last or f"{candidate.name} is dropped" in reasons


def test_a_candidate_that_is_statistically_behind_does_not_go_on(tmp_path) -> None:
    state, judge = state_in(tmp_path), Judge({"ResNet": 0.9, "DenseNet-BC": 0.895})
    race(state, judge).run()
    assert {"ResNet", "DenseNet-BC"} <= set(state.rounds[1])
    assert "MobileNetV2" not in state.rounds[1]


@pytest.mark.parametrize("stop_after", [0, 1, 5, 9, 12])
def test_a_stopped_race_continues_without_repeating_a_trial(tmp_path, stop_after: int) -> None:
    shares = {"EfficientNet": 0.9, "SE-ResNet": 0.89}
    whole = Judge(shares)
    race(state_in(tmp_path), whole).run()
    folder = tmp_path / "stopped"
    folder.mkdir()
    first = Judge(shares, stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        race(state_in(folder), first).run()
    second = Judge(shares, clock=first.clock)
    state = State.open(folder) if (folder / "state.json").exists() else state_in(folder)
    race(state, second).run()
    assert first.ran + second.ran == whole.ran


@pytest.mark.parametrize("seconds", [60.0, 100.0, 1000.0])
@pytest.mark.parametrize("measuring", [0.0, 9.0])
def test_the_first_trial_is_one_of_the_first_round(tmp_path, seconds: float, measuring: float) -> None:
    state, judge = state_in(tmp_path), Judge({})
    others = state.candidates[1:]
    del state.candidates[1:]
    race(state, judge, seconds).try_first()
    assert [each.candidate for each in state.trials] == [state.candidates[0].name]
    race(state, judge, seconds).try_first()  # as a resumed design does
    judge.clock.passed += measuring
    state.candidates += others
    race(state, judge, seconds).run()
    assert len(judge.ran) == len(set(judge.ran))
    assert len(state.rounds[0]) == min(1 + len(others), first_round_room(shares_of(seconds)[0] * seconds))
    assert {round(each.seconds, 3) for each in state.trials_of(0)} == {round(first_trial_seconds(seconds), 3)}
    assert judge.clock.passed <= 1.001 * seconds + measuring


def test_a_candidate_that_is_left_alone_is_not_trained_again(tmp_path) -> None:
    state, judge = state_in(tmp_path), Judge({"DenseNet-BC": 0.9})
    best = race(state, judge, 54).run()
    assert judge.ran == [("DenseNet-BC", 0), ("SE-ResNet", 0)]
    assert (best.candidate, len(state.rounds)) == ("DenseNet-BC", 1)
    assert judge.clock.passed == pytest.approx(27)


@pytest.mark.parametrize("seconds", [10.0, 20.0, 40.0, 47.0])
def test_a_candidate_without_rivals_is_tried_briefly(tmp_path, seconds: float) -> None:
    """Its final training needs the time more."""
    state, judge = state_in(tmp_path), Judge({})
    best = race(state, judge, seconds).run()
    assert judge.ran == [(best.candidate, 0)]
    assert best.seconds == pytest.approx(first_trial_seconds(seconds))
    assert best.seconds <= SHORT_TRIAL_SECONDS


def test_a_race_takes_its_time_and_not_more(tmp_path) -> None:
    for seconds in (100.0, 300.0, 1000.0):
        judge = Judge({})
        folder = tmp_path / f"{seconds}"
        folder.mkdir()
        race(state_in(folder), judge, seconds).run()
        assert judge.clock.passed == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize("slower", [2.0, 5.0, 100.0])
@pytest.mark.parametrize("seconds", [100.0, 1000.0])
def test_trials_that_take_longer_than_planned_leave_others_out(tmp_path, slower: float, seconds: float) -> None:
    state, judge = state_in(tmp_path), Judge({}, slower=slower)
    best = race(state, judge, seconds).run()
    assert best.candidate in {name for name, _ in judge.ran}
    longest = slower * first_trial_seconds(seconds)
    assert judge.clock.passed <= seconds + 3 * longest
    fates = {trial.candidate for trial in state.trials} | {each.name for each in state.left_out}
    assert {each.name for each in state.candidates} <= fates


@settings(max_examples=40, deadline=None)
@given(
    st.floats(30, 230),
    st.lists(st.sampled_from([0.9, 1.0, 1.0, 1.3, 2.0, 4.0]), min_size=30, max_size=30),
    st.lists(st.sampled_from([0.2, 0.5, 0.51, 0.8]), min_size=8, max_size=8),
)
def test_no_trial_is_begun_with_too_little_time_to_learn(
    tmp_path_factory, seconds: float, slower: list[float], shares: list[float]
) -> None:
    """Whatever trials overrun, a candidate has its time, or it is out of time and was not compared."""
    state = state_in(tmp_path_factory.mktemp("race"))
    judge = Judge({each.name: share for each, share in zip(state.candidates, shares, strict=False)})
    run = judge.run

    def overrunning(candidate: Candidate, number: int, round_: int, given: float) -> Trial:
        judge.slower = slower[len(judge.ran)]
        return run(candidate, number, round_, given)

    judge.run = overrunning  # type: ignore[method-assign]
    race(state, judge, seconds).run()
    given: dict[int, list[float]] = {}
    for (_, round_), each in zip(judge.ran, judge.given, strict=True):
        given.setdefault(round_, []).append(each)
    for round_, lengths in given.items():
        planned = first_trial_seconds(seconds)
        if round_:
            planned = max(SHORT_TRIAL_SECONDS, GROWTH * median(given[round_ - 1]))
        assert min(lengths[1:], default=planned) >= TOO_LITTLE_SHARE * planned - 1e-6
    reasons = {each.decision.removesuffix(" is dropped"): each.reason for each in state.decisions}
    untried = {each.name: each.reason for each in state.left_out}
    last = {name: round_ for round_, names in enumerate(state.rounds) for name in names}
    for name, round_ in last.items():
        if state.trial(name, round_) is None:
            assert (reasons | untried)[name] == NO_TIME
    for name in untried:
        assert all(trial.candidate != name for trial in state.trials)


@pytest.mark.parametrize(
    ("late", "dropped_for"),
    [
        ({"stopped": True, "epochs": 1.0, "planned_epochs": 8.0}, OUT_OF_TIME),
        ({"stopped": True, "epochs": 7.0, "planned_epochs": 8.0}, WORSE),
        ({"stopped": False, "epochs": 1.0, "planned_epochs": 8.0}, WORSE),
        ({"epochs": 0.3, "chance": 0.3}, OUT_OF_TIME),
        ({"epochs": 1.3, "chance": 0.3}, WORSE),
        ({"epochs": 0.3, "chance": 0.1}, WORSE),
    ],
)
def test_a_trial_that_had_too_little_time_to_learn_is_not_called_worse(tmp_path, late, dropped_for: str) -> None:
    state, judge = state_in(tmp_path), Judge({"ResNet": 0.9, "DenseNet-BC": 0.3})
    run = judge.run

    def late_one(candidate: Candidate, number: int, round_: int, seconds: float) -> Trial:
        trial = run(candidate, number, round_, seconds)
        return replace(trial, **late) if candidate.name == "DenseNet-BC" else trial

    judge.run = late_one  # type: ignore[method-assign]
    assert race(state, judge).run().candidate == "ResNet"
    (reason,) = [each.reason for each in state.decisions if each.decision == "DenseNet-BC is dropped"]
    assert reason.startswith(f"{dropped_for}: ")
    assert "DenseNet-BC" not in state.rounds[1]


def test_candidates_that_fail_are_left_behind(tmp_path) -> None:
    state, judge = state_in(tmp_path), Judge({"DenseNet-BC": -1.0, "ResNet": 0.8})
    assert race(state, judge).run().candidate == "ResNet"
    assert "DenseNet-BC" not in state.rounds[1]


def test_a_race_in_which_everything_fails_says_why(tmp_path) -> None:
    state = state_in(tmp_path)
    judge = Judge({each.name: -1.0 for each in state.candidates})
    with pytest.raises(ConvwrightError, match=r"no candidate could be trained .*diverged"):
        race(state, judge).run()


def test_a_round_in_which_all_trainings_fail_does_not_end_the_race(tmp_path) -> None:
    state, judge = state_in(tmp_path), Judge({})
    names = [each.name for each in state.candidates]
    judge.shares = {name: 0.9 if name == names[0] else 0.4 for name in names}
    run = judge.run

    def failing(candidate: Candidate, number: int, round_: int, seconds: float) -> Trial:
        trial = run(candidate, number, round_, seconds)
        return trial if round_ == 0 else replace(trial, accuracy=0.0, correct="", images=0, problem="diverged")

    judge.run = failing  # type: ignore[method-assign]
    assert race(state, judge).run().candidate == names[0]


def test_candidates_that_a_round_has_no_time_for_have_a_reason(tmp_path) -> None:
    state, judge = state_in(tmp_path), Judge({}, slower=1.6)
    race(state, judge, 130).run()
    dropped = {each.decision for each in state.decisions}
    last = set(state.rounds[-1])
    for name in state.rounds[0]:
        assert name in last or f"{name} is dropped" in dropped or name in {each.name for each in state.left_out}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("seconds", [50.0, 100.0, 240.0, 500.0, 1500.0, 10_000.0])
def test_trials_of_later_rounds_are_longer(tmp_path, seconds: float, count: int) -> None:
    state, judge = state_in(tmp_path), Judge({})
    del state.candidates[count:]
    race(state, judge, seconds).run()
    assert judge.clock.passed <= 1.001 * seconds
    lengths = [{round(each.seconds, 3) for each in state.trials_of(at)} for at in range(len(state.rounds))]
    for before, after in pairwise(lengths):
        assert min(after) >= 0.999 * GROWTH * max(before)
    assert all(len(names) > 1 for names in state.rounds[1:])


def test_a_design_of_minutes_has_a_second_round(tmp_path) -> None:
    for seconds in (100.0, 240.0, 500.0, 1500.0):
        folder = tmp_path / f"{seconds}"
        folder.mkdir()
        state = state_in(folder)
        race(state, Judge({}), seconds).run()
        assert len(state.rounds) >= 2


def test_a_known_decision_still_saves_what_changed_before_it(tmp_path) -> None:
    state = state_in(tmp_path)
    state.decide("race", "ResNet is dropped", "reason")
    state.candidates.pop()
    state.decide("race", "ResNet is dropped", "reason")
    stored = State.open(tmp_path)
    assert stored.candidates == state.candidates
    assert len(stored.decisions) == 1


def survivors(tmp_path, *rights: torch.Tensor) -> tuple[list[str], dict[str, str]]:
    """Return the candidates that go on, and why the others do not, of trials with these right images."""
    names = [f"c{at}" for at in range(len(rights))]
    state = State(tmp_path, {}, candidates=[replace(candidates()[0], name=name) for name in names], rounds=[names])
    for name, right in zip(names, rights, strict=True):
        share = float(right.double().mean())
        state.trials.append(Trial(name, 0, 0, "", share, pack_bits(right), len(right), 1.0, 10.0))
    kept = [each.candidate for each in race(state, Judge({}))._survivors()]
    return kept, {each.decision.removesuffix(" is dropped"): each.reason for each in state.decisions}


def right_of(images: int, only_first: int, only_second: int, both: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which images two networks classify correctly: some only one, some both."""
    at = torch.arange(images)
    second = (at >= only_first) & (at < only_first + only_second)
    shared = (at >= only_first + only_second) & (at < only_first + only_second + both)
    return (at < only_first) | shared, second | shared


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("images", "only_first", "only_second", "worse"),
    [
        (1000, 300, 100, True),
        (1000, 20, 0, True),  # of the same difference, the images that differ decide
        (1000, 310, 290, False),
        (1000, 5, 5, False),
        (1000, 0, 0, False),
        (40, 4, 0, False),  # of the same share of the images, their number decides
        (4000, 400, 0, True),
    ],
)
def test_a_candidate_is_dropped_as_worse_only_where_images_show_it(
    tmp_path, turned: bool, images: int, only_first: int, only_second: int, worse: bool
) -> None:
    better, other = right_of(images, only_first, only_second, images // 3)
    half = torch.zeros(images, dtype=torch.bool)  # two others below, so that both are in the upper half
    order = [other, better, half, half] if turned else [better, other, half, half]
    kept, reasons = survivors(tmp_path, *order)
    name = "c0" if turned else "c1"
    assert (name in kept) is not worse
    assert (reasons.get(name, "").startswith(WORSE)) is worse
    if only_first > only_second:
        assert kept[0] == ("c1" if turned else "c0")
    assert {"c2", "c3"}.isdisjoint(kept)


def test_comparisons_of_many_candidates_need_larger_differences(tmp_path) -> None:
    better, other = right_of(400, 12, 3, 200)
    one_kept, _ = survivors(tmp_path, better, other)
    assert one_kept == ["c0"]
    several, reasons = survivors(tmp_path, better, other, *[other] * 7)
    assert len(several) == round(9 / 2)
    assert not any(reason.startswith(WORSE) for reason in reasons.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=60, max_size=60), min_size=2, max_size=7))
def test_the_most_accurate_go_on_and_the_best_wins(tmp_path_factory, rights: list[list[bool]]) -> None:
    kept, reasons = survivors(tmp_path_factory.mktemp("race"), *map(torch.tensor, rights))
    right = {f"c{at}": sum(each) for at, each in enumerate(rights)}
    assert right[kept[0]] == max(right.values())
    assert len(kept) <= max(1, round(len(rights) / 2))
    assert {*kept} | {*reasons} == {*right}
    assert {*kept}.isdisjoint(reasons)
    worse = [name for name, reason in reasons.items() if not reason.startswith(WORSE)]
    assert all(right[name] <= min(right[each] for each in kept) for name in worse)


@pytest.mark.parametrize("fewest", [1, 3, 10, 12, 30])
@pytest.mark.parametrize("slots", [1, 2, 4])
def test_the_minutes_of_a_race_are_the_fewest_that_suffice(slots: int, fewest: int) -> None:
    for count in range(1, 12):
        wanted = min(count, MAX_FIRST_ROUND)
        minutes = minutes_for(count, slots, fewest)
        rooms = [room_of(TimePlan(60.0 * each).race, slots) for each in range(fewest, minutes + 1)]
        assert rooms[-1] >= wanted
        assert all(room < wanted for room in rooms[:-1])
