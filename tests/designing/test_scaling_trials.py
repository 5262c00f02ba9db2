"""Compound scaling against one dimension: equal networks, time that is kept, and comparisons that are recorded."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from convwright.arch import at
from convwright.arch.cost import cost
from convwright.designing.candidates import Candidate
from convwright.designing.families import CandidateLimits
from convwright.designing.ideas import SCALING, effects_of, not_compared, why_not_compared
from convwright.designing.scaling_trials import (
    COMPOUND,
    MAX_MACS_FACTOR,
    MIN_SECONDS,
    ONE_DIMENSION,
    TIME_SHARE,
    ScalingTrials,
    scaled_candidates,
)
from convwright.designing.state import State
from convwright.designing.trials import Trial, pack_bits
from convwright.scaling.budget import as_budget
from convwright.training.progressive import smallest

from .first import first_candidates

IMAGES = 300


def candidates_of(budget: str, resolution: int = 64) -> list[Candidate]:
    found = first_candidates(resolution, 3, 10, CandidateLimits(as_budget(budget)))
    return [each for each in found if isinstance(each, Candidate)]


@pytest.mark.parametrize("budget", ["macs<=2M", "macs<=20M", "macs<=100M, params<=1M", "params<=300K"])
def test_networks_of_a_comparison_keep_the_budget_at_equal_multiply_adds(budget: str) -> None:
    limits, pairs = CandidateLimits(as_budget(budget)), 0
    for base in candidates_of(budget):
        found = scaled_candidates(base, limits)
        assert len(found) in (0, 2, 3)
        for each in found:
            assert not limits.exceeded_by(each.network)
            assert 1 / MAX_MACS_FACTOR <= cost(each.network).macs / cost(found[0].network).macs <= MAX_MACS_FACTOR
            assert each.family == base.family
            cost(at(each.network, resolution=smallest(each.network.resolution)))  # the first images of a training
        if found:
            pairs += 1
            assert [each.idea for each in found] == [
                COMPOUND,
                *(i for i in ONE_DIMENSION if i in {e.idea for e in found}),
            ]
            assert len({each.network for each in found}) == len(found)
            assert all(each.network.resolution < found[0].network.resolution for each in found[1:])
    assert pairs or budget == "params<=300K"


class Time:
    """A clock that trials move on."""

    passed = 0.0

    def save(self) -> None:
        """Keep nothing."""


@dataclass
class Trainer:
    """Gives each candidate an accuracy in place of training it."""

    accuracy: dict[str, float]
    stop_after: int = 10
    clock: Time = field(default_factory=Time)
    ran: list[str] = field(default_factory=list)

    def run(self, candidate: Candidate, number: int, round_: int, seconds: float) -> Trial:
        """Return a trial."""
        if len(self.ran) == self.stop_after:
            raise KeyboardInterrupt
        self.ran.append(candidate.idea)
        self.clock.passed += seconds
        share = self.accuracy.get(candidate.idea, 0.5)
        right = pack_bits(torch.arange(IMAGES) < share * IMAGES)
        return Trial(candidate.name, round_, 0, f"{round_}-{number}", share, right, IMAGES, 1.0, seconds)


@pytest.fixture
def state(tmp_path) -> State:
    """A design whose race of one round has ended."""
    found = candidates_of("macs<=20M")
    state = State(tmp_path, {}, candidates=found, rounds=[[each.name for each in found]])
    right = pack_bits(torch.arange(IMAGES) < 0.7 * IMAGES)
    state.trials = [Trial(each.name, 0, 0, each.name, 0.7, right, IMAGES, 1.0, 30.0) for each in found]
    return state


def run(state: State, trainer: Trainer, left: float, *, started: bool = False) -> None:
    best = next(each for each in state.trials if each.candidate == "EfficientNet")
    limits = CandidateLimits(as_budget("macs<=20M"))
    ScalingTrials(state, trainer, limits, lambda line: None).run(best, left, started=started)  # type: ignore[arg-type]


@pytest.mark.parametrize("left", [10.0, 100.0, 499.0, 501.0, 1000.0, 5000.0])
def test_only_long_designs_train_for_the_comparison(state, left: float) -> None:
    trainer = Trainer({COMPOUND: 0.6, "width alone": 0.4})
    run(state, trainer, left)
    assert trainer.clock.passed <= 1.001 * TIME_SHARE * left
    assert len(trainer.ran) == (
        0 if left < 2 * MIN_SECONDS / TIME_SHARE else 2 if left < 3 * MIN_SECONDS / TIME_SHARE else 3
    )
    effects = [each for each in effects_of(state) if each.idea == SCALING]
    assert len(effects) == max(0, len(trainer.ran) - 1)
    if effects:
        assert effects[0].verdict == "helps"
        assert effects[0].sentence.startswith(
            "Compound scaling instead of width-only scaling raised the accuracy significantly"
        )
        assert not any(each.with_it == each.without for each in effects)
        dropped = {each.decision for each in state.decisions}
        assert all(
            f"{each.with_it} is dropped" in dropped and f"{each.without} is dropped" in dropped for each in effects
        )
    else:
        assert SCALING in not_compared(state)
        assert "and needs 2 x 20 s" in why_not_compared(state, SCALING)


def test_a_design_whose_winner_is_in_training_starts_no_comparison(state) -> None:
    trainer = Trainer({})
    run(state, trainer, 5000.0, started=True)
    assert not trainer.ran


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_stopped_comparison_continues_without_repeating_a_trial(state, stop_after: int) -> None:
    first = Trainer({}, stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        run(state, first, 5000.0)
    again, second = State.open(state.folder), Trainer({})
    run(again, second, 4000.0)
    assert first.ran + second.ran == [COMPOUND, *ONE_DIMENSION]
    after = [each for each in again.trials if each.round == 1]
    assert len({round(each.seconds, 3) for each in after}) == 1 or not first.ran


def test_networks_with_published_weights_are_not_scaled(state) -> None:
    fields = {"weights": "imagenet"}
    state.candidates = [Candidate(each.name, each.family, "", each.network, fields) for each in state.candidates]
    trainer = Trainer({})
    run(state, trainer, 5000.0)
    assert not trainer.ran
    assert why_not_compared(state, SCALING) == "no network that was trained from scratch is as accurate as the winner"


@pytest.mark.parametrize("share", [0.7, 0.3])
def test_another_family_is_scaled_where_the_best_allows_no_pair(tmp_path, share: float) -> None:
    found = candidates_of("macs<=2M", 28)
    limits = CandidateLimits(as_budget("macs<=2M"))
    without = next(each for each in found if not scaled_candidates(each, limits))
    state = State(tmp_path, {}, candidates=found, rounds=[[each.name for each in found]])
    right = pack_bits(torch.arange(IMAGES) < 0.7 * IMAGES)
    state.trials = [Trial(each.name, 0, 0, each.name, 0.7, right, IMAGES, 1.0, 30.0) for each in found]
    best = next(each for each in state.trials if each.candidate == without.name)
    lower = pack_bits(torch.arange(IMAGES) < share * IMAGES)
    state.trials = [best, *(replace(each, accuracy=share, correct=lower) for each in state.trials if each != best)]
    trainer = Trainer({})
    ScalingTrials(state, trainer, limits, lambda line: None).run(best, 5000.0, started=False)  # type: ignore[arg-type]
    compared = [each for each in state.candidates if each.idea in (COMPOUND, *ONE_DIMENSION)]
    assert len(compared) == len(trainer.ran)
    assert without.family not in {each.family for each in compared}
    assert (len(compared) >= 2) is (share == 0.7), "families that are statistically behind are not compared"
