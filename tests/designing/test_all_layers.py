"""All layers of a winner whose classifier alone was trained, in the time that is left."""

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data.opened import Data
from convwright.designing.candidates import Candidate
from convwright.designing.clock import Clock
from convwright.designing.context import DesignContext
from convwright.designing.planning import Planner
from convwright.designing.request import DesignRequest
from convwright.designing.reserve import Reserve
from convwright.designing.state import State
from convwright.designing.trials import Trial
from convwright.designing.winner import ALL_LAYERS, CLASSIFIER_ALONE, WINNER, WinnerTraining
from convwright.designing.winner_record import Winner
from convwright.training.run import Run

SECONDS = 900.0


@pytest.fixture
def training(tmp_path):
    """The training of a winner with published weights, on a few images."""
    rng = np.random.default_rng(0)
    for role, count in (("train", 12), ("val", 6), ("test", 3)):
        for name, high in (("dark", 160), ("light", 255)):
            folder = tmp_path / "pictures" / role / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, high, (48, 48, 3), np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "design").mkdir()
    network = cw.network("efficientnet_lite0|resolution:32|classes:2")
    fields = {"weights": "pretrained", "freeze": True, "learning_rate": 0.05, "recipe": None}
    state = State(tmp_path / "design", {}, candidates=[Candidate("one", "one", "pretrained weights", network, fields)])
    data = Data(str(tmp_path / "pictures"))
    request = DesignRequest(data, None, SECONDS, tmp_path / "design")
    context = DesignContext(request, state, Clock(tmp_path / "design" / "clock.json", SECONDS), progress=False)
    context.data = data
    planner = Planner(context)
    best = Trial("one", 0, 0, "race/0-00", 0.5, "01", 2, 1.0, 1.0)
    return WinnerTraining(context, planner, Reserve(context, planner.time, best))


def trained(training):
    """Train the classifier alone, and return it as a trial of the race."""
    context = training.context
    trial = context.trainer.run(context.state.candidates[0], 0, 0, 20.0)
    assert trial.problem is None
    context.state.rounds.append(["one"])
    context.state.add_trial(trial)
    return trial


def leave(training, seconds: float) -> None:
    """Make as if the design had these seconds left for training."""
    clock = training.context.clock
    clock._started -= SECONDS - training.planner.time.end() - seconds - clock.passed


@pytest.mark.slow
def test_they_are_trained_and_kept_where_that_is_better(training, monkeypatch) -> None:
    trial, state = trained(training), training.context.state
    leave(training, 300)
    monkeypatch.setattr("convwright.designing.winner.PLANNED_SHARE", 0.03)  # the limit is for busy machines
    better = training._train_all_layers(Winner("one", trial.run), trial.accuracy, trial)
    run = Run.open(training.context.request.out / ALL_LAYERS)
    assert not run.config.recipe.freeze
    assert run.metrics[-1]["epoch"] > 0
    (decision,) = [each for each in state.decisions if each.step == "training"]
    if better is None:
        assert decision.decision == CLASSIFIER_ALONE
        assert "after training all layers" in decision.reason
    else:
        winner, accuracy = better
        assert accuracy == winner.training.accuracy > trial.accuracy
        assert (winner.run, decision.decision) == (ALL_LAYERS, "the winner with all its layers trained is kept")
    assert training.context.clock.passed < SECONDS


@pytest.mark.slow
def test_they_are_not_trained_without_time(training) -> None:
    trial = trained(training)
    leave(training, 15)
    training.run(trial)
    assert not (training.context.request.out / ALL_LAYERS).exists()
    assert training.context.state.winner.run in (WINNER, trial.run)
