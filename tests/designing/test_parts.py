"""The parts of a design that need no training: clocks, packed results, and candidates within limits."""

import json
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import convwright as cw
from convwright.arch import at, fit_resolution, recalibrate
from convwright.arch.cost import cost
from convwright.data.opened import Data
from convwright.designing.candidates import (
    Candidate,
    LeftOut,
    default_candidates,
    pretrained_candidates,
    recipe_variations,
    variations,
)
from convwright.designing.clock import (
    EXIT_SHARE,
    Clock,
    FeaturesTooSlowError,
    TimeLimit,
    busy_seconds,
    counting_process_time,
)
from convwright.designing.context import DesignContext
from convwright.designing.families import BALANCED, FAMILIES, CandidateLimits
from convwright.designing.planning import Planner
from convwright.designing.race import Race
from convwright.designing.request import DesignRequest
from convwright.designing.reserve import Reserve
from convwright.designing.state import State
from convwright.designing.threads import fastest_threads
from convwright.designing.time_plan import TimePlan
from convwright.designing.trials import Trainer, Trial, pack_bits
from convwright.designing.winner import WinnerTraining
from convwright.designing.winner_record import LongTraining, ScoredImages, Winner
from convwright.errors import (
    ConvwrightError,
    ConvwrightWarning,
    DataError,
    DataTooLargeError,
    ImagesChangedError,
    NotFiniteError,
    OutOfMemoryError,
    RunError,
    RunHeldError,
)
from convwright.scaling.budget import as_budget
from convwright.training.backbone import Backbone
from convwright.training.prepare import LEAST_EPOCHS, TOO_SHORT
from convwright.training.run import Run
from convwright.training.step import Learner

from .first import first_candidates


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_packed_results_are_read_back(right: list[bool]) -> None:
    trial = Trial("a", 0, 0, "race/0-00", 0.5, pack_bits(torch.tensor(right)), len(right), 1.0, 1.0)
    assert trial.right().tolist() == right


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_pairs_count_the_images_that_only_one_has_right(right: list[tuple[bool, bool]]) -> None:
    first, second = (
        Trial("a", 0, 0, "", 0.5, pack_bits(torch.tensor([each[side] for each in right])), len(right), 1.0, 1.0)
        for side in (0, 1)
    )
    pair = first.against(second)
    assert pair.only_first == sum(a and not b for a, b in right)
    assert pair.only_second == sum(b and not a for a, b in right)


def test_a_clock_continues_where_it_was_written(tmp_path) -> None:
    file = tmp_path / "clock.json"
    file.write_text('{"seconds": 40}')
    clock = Clock(file, 60)
    assert 40 <= clock.passed < 45
    clock.save()
    assert Clock(file, 60).passed >= clock.passed - 1


def test_start_and_end_of_a_command_are_time_of_its_design(tmp_path):
    busy = busy_seconds()
    with counting_process_time():
        counted = Clock(tmp_path / "clock.json", busy + 60, counts_process=True)
        of_a_trial = Clock(tmp_path / "clock.json", 60)
    outside = Clock(tmp_path / "clock.json", 60, counts_process=True)
    assert counted.passed >= busy
    assert counted.seconds == pytest.approx(busy + 60 - EXIT_SHARE * busy, abs=5)
    assert of_a_trial.passed < 5
    assert outside.passed < 5
    assert outside.seconds == of_a_trial.seconds == 60


def test_what_ran_before_a_command_is_no_time_of_it():
    """Programs such as shells replace themselves by the last command, which keeps the start of their process."""
    code = "from convwright.designing.clock import busy_seconds; print(busy_seconds())"
    started = time.monotonic()
    command = ["sh", "-c", 'sleep 2; exec "$@"', "sh", sys.executable, "-c", code]
    busy = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 0 < busy < time.monotonic() - started - 1


@pytest.mark.parametrize("content", ["", "{}", '{"seconds": -1}', '{"seconds": true}', "[1]"])
def test_a_damaged_clock_starts_at_zero(tmp_path, content: str) -> None:
    (tmp_path / "clock.json").write_text(content)
    assert Clock(tmp_path / "clock.json", 60).passed < 5


@pytest.mark.parametrize("budget", ["macs<=5M", "params<=200K", "macs<=20M, params<=100K", "memory<=4MB, macs<=50M"])
@pytest.mark.parametrize("resolution", [28, 64])
def test_candidates_keep_the_budget_or_say_why_they_do_not(budget: str, resolution: int) -> None:
    limits = CandidateLimits(as_budget(budget))
    found = list(first_candidates(resolution, 3, 7, limits))
    assert len(found) == len(FAMILIES)
    for each in found:
        if isinstance(each, LeftOut):
            assert each.reason
        else:
            assert not limits.budget.exceeded_by(cost(each.network))
            assert (each.network.resolution, each.network.channels, each.network.classes) == (resolution, 3, 7)


def test_variations_keep_the_budget_and_differ_from_their_leader() -> None:
    limits = CandidateLimits(as_budget("macs<=10M, params<=300K"))
    leader = next(each for each in first_candidates(32, 3, 5, limits) if isinstance(each, Candidate))
    found = [each for each in variations(leader, limits) if isinstance(each, Candidate)]
    assert {"fewer pixels", "more pixels", "SE added"} <= {each.idea for each in found}
    for each in found:
        assert each.network != leader.network
        assert each.parent == leader.name
        assert not limits.budget.exceeded_by(cost(each.network))


def test_a_limit_on_latency_is_kept_with_few_measurements() -> None:
    measured = []

    def measure(network) -> float:  # a machine whose time is proportional to multiply-adds and layers
        measured.append(network)
        return 1e-9 * cost(network).macs + 1e-4 * sum(stage.repeats for stage in network.stages)

    limits = CandidateLimits(as_budget("latency<=4ms"), measure)
    for family in FAMILIES[:4]:
        measured.clear()
        found = limits.scale(family.base(32, 3, 10), BALANCED)
        assert measure(found.network) <= 4e-3
        assert len(measured) <= 7


@pytest.mark.parametrize(
    "options", [{}, {"resolution": 32}, {"resolution": (24, 40)}, {"seed": 3}, {"resize": "pad", "val_share": 0.2}]
)
@pytest.mark.parametrize("budget", [None, "macs<=5M", "latency<=3ms, params<=1M"])
def test_requests_are_read_back(options, budget, tmp_path) -> None:
    limits = None if budget is None else as_budget(budget)
    request = DesignRequest(Data("digits", **options), limits, 90, tmp_path, 5, "openvino")
    stored = json.loads(json.dumps(request.to_dict()))
    assert stored == request.to_dict()
    assert DesignRequest.from_dict(stored, tmp_path) == request


def test_candidates_are_read_back() -> None:
    limits = CandidateLimits(as_budget("macs<=5M"))
    leader = next(each for each in first_candidates(28, 1, 10, limits) if isinstance(each, Candidate))
    for each in (leader, *recipe_variations(leader, 0.1)):
        assert Candidate.from_dict(each.to_dict()) == each


@pytest.fixture
def coloured(tmp_path):
    rng = np.random.default_rng(0)
    for role, count in (("train", 12), ("test", 3)):
        for name in ("one", "two"):
            folder = tmp_path / "pictures" / role / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / f"{number}.png")
    return Data(str(tmp_path / "pictures"))


def trainer(data: Data, tmp_path) -> Trainer:
    return Trainer(data, tmp_path / "design", Clock(tmp_path / "clock.json", 3600))


def test_short_trials_give_no_advice_about_time(tmp_path) -> None:
    network = at(fit_resolution(cw.network("cifar_resnet56"), 32), channels=1, classes=10)
    candidate = Candidate("slow", "slow", "", network)
    with pytest.warns(ConvwrightWarning, match=TOO_SHORT):
        cw.prepare("digits", network=network, minutes=0.001, out=tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvwrightWarning)
        run = trainer(cw.open_data("digits"), tmp_path).train(candidate, tmp_path / "design" / "run", 0.06)
    assert run.config.epochs < LEAST_EPOCHS


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("macs", "side"), [("1G", 192), ("150M", 128), ("32M", 64)])
def test_the_winner_is_enlarged_within_the_budget(macs, side, frozen, coloured, tmp_path) -> None:
    network = cw.network("efficientnet_lite0|resolution:64|classes:2")
    fields = {"weights": "pretrained", "learning_rate": 0.1}
    small = Candidate("small", "efficientnet_lite0, pretrained", "pretrained weights", network, fields)
    found = trainer(coloured, tmp_path).enlarge(small, 3600, CandidateLimits(as_budget(f"macs<={macs}")), frozen=frozen)
    assert found.network.resolution == side
    # An hour suffices to train all weights, for which a learning rate of the classifier is no good.
    assert found.fields == ({"weights": "pretrained"} if frozen else fields)


def test_candidates_from_scratch_are_not_enlarged(coloured, tmp_path) -> None:
    limits = CandidateLimits(as_budget("macs<=5M"))
    leader = next(each for each in first_candidates(32, 3, 2, limits) if isinstance(each, Candidate))
    assert trainer(coloured, tmp_path).enlarge(leader, 3600, limits, frozen=False) == leader


@pytest.mark.parametrize(("macs", "side"), [("150M", 128), ("70M", 64), ("20M", None)])
def test_published_weights_take_part_at_the_resolution_that_the_budget_allows(macs, side, coloured) -> None:
    (found,) = pretrained_candidates(coloured, 2, 3600, CandidateLimits(as_budget(f"macs<={macs}")))
    assert (found.network.resolution if isinstance(found, Candidate) else None) == side


@pytest.mark.parametrize(("budget", "chosen"), [(None, True), ("macs<=10M", True), ("macs<=1M", False)])
def test_the_network_that_train_chooses_takes_part_if_the_budget_allows_it(budget, chosen) -> None:
    data = cw.open_data("digits")
    limits = CandidateLimits(as_budget(budget) if budget else None)

    def fitted(network):
        return at(fit_resolution(network, 8), channels=1, classes=10)

    found = [*default_candidates(data, fitted, 600, limits)]
    usual = cw.advise("digits", minutes=10).network
    assert [each.network for each in found] == ([fitted(cw.network(usual))] if chosen else [])


def test_images_that_suit_published_weights_have_no_other_default(coloured) -> None:
    assert [*default_candidates(coloured, lambda network: network, 3600, CandidateLimits(None))] == []


@pytest.mark.parametrize("family", FAMILIES[:4], ids=lambda family: family.title)
def test_variations_spend_what_their_leader_spends(family) -> None:
    base = family.base(28, 1, 10)
    slow = {each.base(28, 1, 10).name: 1e-6 for each in FAMILIES}  # so slow that time alone would leave small networks
    limits = CandidateLimits(as_budget("macs<=40M"), None, slow, 1.0)
    network = CandidateLimits(as_budget("macs<=40M")).scale(base, BALANCED).network
    leader = Candidate(family.title, family.title, family.idea, network)
    found = [each for each in variations(leader, limits) if isinstance(each, Candidate)]
    assert found
    for each in found:
        assert 0.5 * cost(network).macs < cost(each.network).macs <= 1.02 * cost(network).macs, each.name


def test_the_speed_of_a_changed_network_is_that_of_its_base() -> None:
    base = FAMILIES[1].base(28, 1, 10)
    limits = CandidateLimits(None, None, {base.name: 1e-9, "another": 1e-6}, 0.02)
    found = limits.scale(recalibrate(base, None), BALANCED)
    assert cost(found.network).macs > 1e6  # 0.02 s an image at 1e-9 s are 20 M multiply-adds, at 1e-6 s 20 k


def test_a_trial_that_was_killed_at_its_end_keeps_the_seconds_of_its_training(coloured, tmp_path) -> None:
    limits = CandidateLimits(as_budget("macs<=5M"))
    leader = next(each for each in first_candidates(32, 3, 2, limits) if isinstance(each, Candidate))
    whole = trainer(coloured, tmp_path).run(leader, 0, 0, 4.0)
    again = trainer(coloured, tmp_path).run(leader, 0, 0, 4.0)
    trained = Run.open(tmp_path / "design" / whole.run).summary.train_seconds
    assert 0 < trained <= again.seconds
    assert again.correct == whole.correct


@pytest.mark.parametrize(("usual", "alone", "chosen"), [(1.0, 0.2, 1), (1.0, 0.9, 2), (1.0, 1.9, 2)])
def test_one_thread_is_chosen_where_it_is_faster(usual, alone, chosen) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with fastest_threads(lambda: alone if torch.get_num_threads() == 1 else usual) as threads:
            assert threads == torch.get_num_threads() == chosen
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("needed", "allowed", "stopped"), [(90, None, False), (150, None, True), (150, 160, False), (170, 160, True)]
)
def test_features_that_take_too_long_are_given_up_early(needed, allowed, stopped, tmp_path) -> None:
    clock = Clock(tmp_path / "clock.json", 1000)
    limit = TimeLimit(clock, clock.passed + 100, None if allowed is None else clock.passed + allowed)
    images, seen = 500, 0
    try:
        for seen in range(16, images + 1, 16):
            clock._started -= 16 * needed / images  # as if that much time had passed
            limit.on_prepare(seen, images, "computing features")
    except FeaturesTooSlowError:
        assert stopped
        assert seen < 0.2 * images
    else:
        assert not stopped


@pytest.mark.parametrize("seconds", [30.0, 240.0, 36000.0])
def test_the_parts_of_a_design_take_its_time(seconds: float) -> None:
    plan = TimePlan(seconds)
    assert plan.race + plan.winner + plan.end() == pytest.approx(seconds)
    assert 0 < plan.end() <= seconds / 2
    assert plan.race < seconds / 2


@pytest.mark.parametrize("batch_seconds", [31, 1600])
def test_features_end_at_their_limit_before_their_time_is_known(batch_seconds, tmp_path) -> None:
    clock = Clock(tmp_path / "clock.json", 1000)
    limit = TimeLimit(clock, clock.passed + 10, clock.passed + 30)
    clock._started -= batch_seconds  # as if that much time had passed
    with pytest.raises(FeaturesTooSlowError, match=f"only 16 of 1,000 images were computed in {batch_seconds} s"):
        limit.on_prepare(16, 1000, "computing features")


def first_from_scratch() -> Candidate:
    limits = CandidateLimits(as_budget("macs<=2M"))
    return next(each for each in first_candidates(32, 3, 2, limits) if isinstance(each, Candidate))


def failing(error: Exception):
    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory: Default"),
        (NotFiniteError("the frozen backbone: NaN\nin all"), "the frozen backbone: NaN in all"),
        (OutOfMemoryError("9 GB are too much; use less", "9 GB are too much"), "9 GB are too much"),
        (DataTooLargeError("9 images take 9 GB of memory"), "9 images take 9 GB of memory"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_failure_of_one_candidate_is_a_failed_trial(error, problem, coloured, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Learner, "train_step", failing(error))
    trial = trainer(coloured, tmp_path).run(first_from_scratch(), 0, 0, 4.0)
    assert trial.problem is not None
    assert problem in trial.problem
    assert "\n" not in trial.problem
    assert (trial.accuracy, trial.images) == (0.0, 0)


@pytest.mark.parametrize(
    "error",
    [
        DataError("photos: an image is unreadable"),
        ConvwrightError("race/0-00/weights: could not be written: No space left on device"),
        RunHeldError("race/0-00: another process is training this run"),
        OSError(28, "No space left on device"),
        KeyboardInterrupt(),
        RuntimeError("shapes do not match"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_failure_of_the_whole_design_ends_it(error, coloured, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Learner, "train_step", failing(error))
    with pytest.raises(type(error)):
        trainer(coloured, tmp_path).run(first_from_scratch(), 0, 0, 4.0)


def test_images_too_large_for_memory_at_a_resolution_fail_one_trial(tmp_path, monkeypatch) -> None:
    data = Data("digits")  # in memory, and resized there
    dataset = data.dataset()
    images = len(dataset.train) + len(dataset.val) + len(dataset.test)
    monkeypatch.setattr("convwright.data.memory.available_memory", lambda: 5 * 32 * 32 * images)
    limits = CandidateLimits(as_budget("macs<=10M"))
    small, large = (
        next(each for each in first_candidates(side, 1, 10, limits) if each.name == "SE-ResNet") for side in (16, 64)
    )
    found = trainer(data, tmp_path)
    assert found.run(small, 0, 0, 4.0).problem is None
    trial = found.run(large, 1, 0, 4.0)
    assert f"{images:,} images of 64 x 64 pixels take" in trial.problem
    assert "resolution 48 would fit" in trial.problem


def test_images_that_changed_before_a_trial_is_resumed_end_the_design(coloured, tmp_path) -> None:
    candidate, found = first_from_scratch(), trainer(coloured, tmp_path)
    trained = found.train(candidate, found.folder / found.place(0, 0), 4.0)
    (trained.path / "summary.json").unlink()  # as if it had been stopped
    Image.new("RGB", (9, 9)).save(next(tmp_path.glob("pictures/train/one/*.png")))
    with pytest.raises(ImagesChangedError) as raised:
        found.run(candidate, 0, 0, 4.0)
    message = str(raised.value)
    assert message.startswith(f"{coloured.spec}: the images have changed since the design began (")
    assert message.endswith("; restore the images and resume the design, or start a new design in another folder")
    assert "\n" not in message


def test_slow_features_fail_their_trial_after_some_times_its_seconds(coloured, tmp_path, monkeypatch) -> None:
    given = trainer(coloured, tmp_path)
    infer = Backbone.inference

    def slow(backbone: Backbone):
        run = infer(backbone)

        def later(images: torch.Tensor) -> torch.Tensor:
            given.clock._started -= 10.0  # as if each batch took that long
            return run(images)

        return later

    monkeypatch.setattr(Backbone, "inference", slow)
    network = cw.network("efficientnet_lite0|resolution:64|classes:2")
    fields = {"weights": "pretrained", "freeze": True, "learning_rate": 0.1, "recipe": None}
    pretrained = Candidate("slow", "efficientnet_lite0, pretrained", "pretrained weights", network, fields)
    trial = given.run(pretrained, 0, 0, 2.0)
    assert trial.problem is not None
    assert " images were computed in " in trial.problem


def test_all_trials_of_a_candidate_and_its_variations_have_one_recipe(coloured, tmp_path) -> None:
    network = cw.network("efficientnet_lite0|resolution:64|classes:2")
    pretrained = Candidate("one", "one", "pretrained weights", network, {"weights": "pretrained"})
    given = trainer(coloured, tmp_path)
    (tmp_path / "design").mkdir()
    state = State(tmp_path / "design", {}, candidates=[pretrained])
    race = Race(state, given, CandidateLimits(None), 4.0, lambda line: None)
    race._plan(0, 0.05)  # too short to train all weights
    (settled,) = State.open(state.folder).candidates
    assert settled.fields["freeze"] is True
    varied = [*recipe_variations(settled, 0.05), *variations(settled, CandidateLimits(None))]
    for each in (settled, *(one for one in varied if isinstance(one, Candidate))):
        requests = [given.request(each, tmp_path / "run", seconds) for seconds in (1.0, 3600.0)]
        assert [one.freeze for one in requests] == [True, True]
        assert requests[0].learning_rate == requests[1].learning_rate == each.fields["learning_rate"]


def test_the_most_accurate_network_within_the_budget_is_kept(tmp_path) -> None:
    data = Data("digits")
    network = CandidateLimits(as_budget("macs<=1M")).scale(FAMILIES[1].base(8, 1, 10), BALANCED).network
    names = ("early", "last", "teacher")
    candidates = [Candidate(name, name, "", network, teacher_only=name == "teacher") for name in names]
    state = State(tmp_path, {}, candidates=candidates, rounds=[["early", "last"], ["last"]])
    shares = [("early", 0, 0.75), ("last", 0, 0.5), ("last", 1, 0.5), ("teacher", 2, 1.0)]
    for name, round_, share in shares:
        right = pack_bits(torch.arange(8) < 8 * share)
        state.add_trial(Trial(name, round_, 0, f"race/{round_}-{name}", share, right, 8, 1.0, 1.0))
    (tmp_path / "clock.json").write_text('{"seconds": 600}')  # no time is left
    context = DesignContext(DesignRequest(data, None, 600, tmp_path), state, Clock(tmp_path / "clock.json", 600), False)
    context.data = data
    planner = Planner(context)
    reserve = Reserve(context, planner.time, state.trials[2])
    WinnerTraining(context, planner, reserve).run(state.trials[2])
    assert (state.winner.candidate, state.winner.run) == ("early", "race/0-early")
    assert state.best is not None
    assert (state.best.candidate, state.best.accuracy) == ("early", 0.75)
    assert "last is dropped" in {each.decision for each in state.decisions}


FIGURES = st.builds(
    LongTraining, st.floats(0, 1), st.integers(1, 1000), st.floats(0, 100), st.floats(0, 1e5), st.booleans()
)


@given(
    st.builds(
        Winner,
        st.text(),
        st.text(),
        st.none() | FIGURES,
        st.none() | st.builds(ScoredImages, st.integers(0, 50), st.integers(50, 100)),
        st.text(),
        st.text(),
    )
)
def test_winners_are_read_back(winner: Winner) -> None:
    assert Winner.from_dict(json.loads(json.dumps(winner.to_dict()))) == winner


@pytest.mark.parametrize(
    "stored",
    [
        {"candidate": "a"},
        {"candidate": "a", "run": 3},
        {"candidate": "a", "run": "b", "accuracy": 0.5},
        {"candidate": "a", "run": "b", "accuracy": "x", "images": 1, "epochs": 1, "seconds": 1},
        {"candidate": "a", "run": "b", "tested": {"right": "x", "images": 1}},
        {"candidate": "a", "run": "b", "other": 1},
        [],
    ],
)
def test_a_damaged_winner_is_refused_in_one_line(tmp_path, stored) -> None:
    state = State(tmp_path, {}, winner=Winner("a", "b"))
    state.save()
    content = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps(content | {"winner": stored}))
    with pytest.raises(RunError, match=r"state\.json: damaged file") as raised:
        State.open(tmp_path)
    assert "\n" not in str(raised.value)


def test_the_winner_of_an_earlier_version_is_read(tmp_path) -> None:
    stored = {"candidate": "a", "run": "winner", "accuracy": 0.5, "images": 9, "epochs": 1.5, "seconds": 2.5}
    stored |= {"stopped": True, "tested": {"right": 3, "images": 4}, "no_file": "no onnx", "file_problem": ""}
    State(tmp_path, {}).save()
    content = json.loads((tmp_path / "state.json").read_text())
    del content["test_scores"]
    (tmp_path / "state.json").write_text(json.dumps(content | {"winner": stored}))
    found = State.open(tmp_path)
    assert found.winner == Winner("a", "winner", LongTraining(0.5, 9, 1.5, 2.5, True), ScoredImages(3, 4), "no onnx")
    assert found.test_scores == []
