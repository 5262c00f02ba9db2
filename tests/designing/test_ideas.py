"""Which ideas helped in a design: signs, certainty, and that only trials of one round are compared."""

import pytest
import torch

from convwright.designing.candidates import Candidate, first_candidates
from convwright.designing.families import Limits
from convwright.designing.ideas import effects_of, not_compared
from convwright.designing.state import State
from convwright.designing.trials import Trial, packed
from convwright.scaling.budget import as_budget

IMAGES = 500


def trial(name: str, share: float, round_: int = 0, problem: str | None = None) -> Trial:
    right = torch.arange(IMAGES) < share * IMAGES
    return Trial(name, round_, 0, "", share, packed(right), IMAGES, 1.0, 10.0, 0.1, problem)


@pytest.fixture
def state(tmp_path) -> State:
    """A design whose two rounds have ended."""
    found = [each for each in first_candidates(28, 1, 10, Limits(as_budget("macs<=5M"))) if isinstance(each, Candidate)]
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
    assert {each.idea for each in found.values()} == {"SE", "compound scaling", "training"}
    assert not_compared(state) == ["dense connections"]


def test_intervals_hold_for_all_comparisons_together(state) -> None:
    for each in effects_of(state):
        assert each.comparisons == 4
        low, high = each.pair.interval
        assert each.interval[0] < low < each.pair.difference < high < each.interval[1]


def test_sentences_say_what_was_compared(state) -> None:
    sentences = [each.sentence for each in effects_of(state)]
    assert any(line.startswith("SE helped: +20.0 percentage points (") for line in sentences)
    assert any("made no difference that these images can show" in line for line in sentences)
    assert all("500 validation images" in line for line in sentences)
