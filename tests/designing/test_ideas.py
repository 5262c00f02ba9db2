"""Which ideas helped in a design: signs, certainty, and that only trials of one round are compared."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from convwright.arch.cost import cost
from convwright.data.opened import Data
from convwright.designing.candidates import Candidate, variations
from convwright.designing.families import CandidateLimits
from convwright.designing.ideas import PAPERS, SPENDING, compared_trials, effects_of, not_compared
from convwright.designing.judging import MIN_IMAGES, Judge
from convwright.designing.state import State, TestScore
from convwright.designing.trials import Trial, pack_bits
from convwright.scaling.budget import as_budget
from convwright.training.run import Run

from .first import first_candidates

IMAGES = 500


def trial(name: str, share: float, round_: int = 0, problem: str | None = None) -> Trial:
    right = torch.arange(IMAGES) < share * IMAGES
    return Trial(name, round_, 0, "", share, pack_bits(right), IMAGES, 1.0, 10.0, 0.1, problem)


@pytest.fixture
def state(tmp_path) -> State:
    """A design whose two rounds have ended."""
    found = [
        each
        for each in first_candidates(28, 1, 10, CandidateLimits(as_budget("macs<=5M")))
        if isinstance(each, Candidate)
    ]
    leader = next(each for each in found if each.name == "SE-ResNet")
    for name, idea in (("a", "SE removed"), ("b", "fewer pixels"), ("c", "averaged weights")):
        found.append(Candidate(name, leader.family, idea, leader.network, {}, leader.name))
    state = State(tmp_path, {}, candidates=found, rounds=[["ResNet", "SE-ResNet"], ["SE-ResNet", "a", "b", "c"]])
    state.trials = [trial("ResNet", 0.7), trial("SE-ResNet", 0.9), trial("MobileNetV2", 0.9, problem="diverged")]
    state.trials += [trial("SE-MobileNetV2", 0.9)]
    state.trials += [trial("SE-ResNet", 0.95, 1), trial("a", 0.8, 1), trial("b", 0.954, 1), trial("c", 0.5, 1)]
    return state


def test_each_idea_is_judged_by_the_trials_that_differ_in_it(state) -> None:
    found = {(each.with_it, each.without): each for each in effects_of(state)}
    assert found.keys() == {("SE-ResNet", "ResNet"), ("SE-ResNet", "a"), ("b", "SE-ResNet"), ("c", "SE-ResNet")}
    assert {key: each.verdict for key, each in found.items()} == {
        ("SE-ResNet", "ResNet"): "helps",
        ("SE-ResNet", "a"): "helps",
        ("b", "SE-ResNet"): "undecided",
        ("c", "SE-ResNet"): "hurts",
    }
    assert found["SE-ResNet", "a"].pair.difference == pytest.approx(0.15)
    assert {each.idea for each in found.values()} == {"SE", "how the budget is spent", "training"}
    assert not_compared(state) == ["dense connections", "compound scaling"]


def test_intervals_hold_for_all_comparisons_together(state) -> None:
    for each in effects_of(state):
        assert each.comparisons == 4
        low, high = each.pair.interval
        assert each.interval[0] < low < each.pair.difference < high < each.interval[1]


def test_sentences_say_what_was_compared(state) -> None:
    sentences = [each.sentence for each in effects_of(state)]
    assert any(
        line.startswith("SE raised the accuracy significantly, by 20.0 percentage points (95 % interval")
        for line in sentences
    )
    assert any("the accuracies are statistically indistinguishable" in line for line in sentences)
    assert all("500 validation images" in line for line in sentences)


def test_every_pair_is_compared_once_in_its_last_shared_round(state) -> None:
    state.rounds = [[*state.rounds[1]], [*state.rounds[1]], ["SE-ResNet", "a"]]
    state.trials = [trial(name, 0.5, round_) for round_ in (0, 1) for name in state.rounds[0]]
    state.trials += [trial("SE-ResNet", 0.9, 2), trial("a", 0.6, 2)]
    found = {(each.with_it, each.without): each for each in effects_of(state)}
    assert len(found) == len(effects_of(state)) == 3
    assert found["SE-ResNet", "a"].pair.difference == pytest.approx(0.3)
    assert found["b", "SE-ResNet"].pair.difference == 0


def test_spending_on_one_dimension_is_not_filed_under_a_paper(tmp_path) -> None:
    limits = CandidateLimits(as_budget("macs<=10M, params<=300K"))
    leader = next(each for each in first_candidates(32, 3, 5, limits) if isinstance(each, Candidate))
    others = [each for each in variations(leader, limits) if isinstance(each, Candidate)]
    others = [each for each in others if not each.idea.startswith("SE")]
    names = [each.name for each in (leader, *others)]
    state = State(tmp_path, {}, candidates=[leader, *others], rounds=[names])
    state.trials = [trial(leader.name, 0.5), *(trial(each.name, 0.9) for each in others)]
    found = effects_of(state)
    assert [each.with_it for each in found] == [each.name for each in others]
    for each in found:
        assert each.idea == SPENDING
        assert each.to_dict()["paper"] is None
        assert each.verdict == "helps"
    changes = {state.candidate(each.with_it).idea: each.change for each in found}
    assert changes["fewer pixels"] == "A lower resolution with more depth and width"
    assert not_compared(state) == [*PAPERS]


def test_sentences_have_the_costs_of_both(state) -> None:
    for each in effects_of(state):
        names = (each.with_it, each.without)
        assert each.macs == tuple(cost(state.candidate(name).network).macs for name in names)
        assert each.sentence.count(" MACs, 10 s)") == 2


def with_test_scores(state: State, **shares: float) -> None:
    """Let the networks of some trials of the second round classify shares of the test images correctly."""
    state.trials = [replace(each, run=f"race/{each.round}-{each.candidate}") for each in state.trials]
    for name, share in shares.items():
        right = torch.arange(2 * IMAGES) < share * 2 * IMAGES
        state.test_scores.append(TestScore(f"race/1-{name}", pack_bits(right), 2 * IMAGES))


def test_ideas_are_judged_on_images_that_chose_no_candidate(state) -> None:
    validation = {(each.with_it, each.without): each for each in effects_of(state)}
    with_test_scores(state, **{"SE-ResNet": 0.85, "a": 0.86, "b": 0.7})
    found = {(each.with_it, each.without): each for each in effects_of(state)}
    tested = {pair for pair, each in found.items() if each.split == "test"}
    assert tested == {("SE-ResNet", "a"), ("b", "SE-ResNet")}
    for pair, each in found.items():
        assert f"on {each.pair.images:,} {each.split} images" in each.sentence
        assert each.to_dict()["split"] == each.split
        if pair not in tested:
            assert each == validation[pair]
    assert found["SE-ResNet", "a"].pair.difference == pytest.approx(-0.01), "the validation images favour SE by 0.15"
    assert found["b", "SE-ResNet"].verdict == "hurts"


def test_test_images_of_two_networks_are_the_same(state) -> None:
    with_test_scores(state, **{"SE-ResNet": 0.8, "a": 0.8})
    state.test_scores[1] = replace(state.test_scores[1], images=IMAGES)
    assert {each.split for each in effects_of(state)} == {"validation"}


def test_test_scores_are_kept(state) -> None:
    with_test_scores(state, **{"SE-ResNet": 0.8, "a": 0.8})
    state.save()
    assert effects_of(State.open(state.folder)) == effects_of(state)


class Time:
    """A clock that predictions move on."""

    passed = 0.0


@dataclass
class Predictor:
    """Predicts test images in place of a network, and moves the clock on."""

    data: Data
    folder: Path
    clock: Time
    seconds: float
    """Seconds of a prediction, which may not be those of the trial."""
    seed: int = 3
    seen: list[torch.Tensor] = field(default_factory=list)

    def predict_test(self, run: object, positions: torch.Tensor) -> torch.Tensor:
        """Return that all images are right."""
        self.clock.passed += self.seconds * len(positions)
        self.seen.append(positions)
        return torch.ones(len(positions), dtype=torch.bool)


@pytest.mark.parametrize("slower", [1.0, 4.0, 1000.0])
@pytest.mark.parametrize("seconds", [0.0, 3.0, 5.0, 10.0, 1000.0])
def test_predictions_of_test_images_keep_their_time(state, monkeypatch, seconds: float, slower: float) -> None:
    monkeypatch.setattr(Run, "open", lambda path: path)
    state.trials = [replace(each, run=f"{each.round}-{each.candidate}", image_seconds=0.002) for each in state.trials]
    clock, networks = Time(), len(compared_trials(state))
    data = Data("digits")
    predictor = Predictor(data, state.folder, clock, 0.002 * slower)
    Judge(state, predictor, clock).run(seconds)  # type: ignore[arg-type]
    images = {len(each) for each in predictor.seen}
    assert len(images) <= 1
    assert len({tuple(each.tolist()) for each in predictor.seen}) <= 1, "all networks predict the same images"
    assert all(MIN_IMAGES <= count <= len(data.test) for count in images)
    longest = 0.002 * slower * max(images, default=0)
    assert clock.passed <= seconds + longest
    complete = len(state.test_scores) == networks
    noted = any(each.step == "ideas" for each in state.decisions)
    assert complete is not noted
    assert complete or seconds < 1000 or slower == 1000
    assert not complete or seconds
    if complete:
        assert {each.split for each in effects_of(state)} == {"test"}
        Judge(state, predictor, clock).run(seconds)  # type: ignore[arg-type]
        assert len(predictor.seen) == networks, "a resumed design predicts nothing again"
