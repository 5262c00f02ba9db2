"""Races that workers share: on processes, PostgreSQL and Ray, with workers that are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import create_engine, text

import convwright as cw
from convwright.data.opened import Data
from convwright.designing.candidates import Candidate
from convwright.designing.families import CandidateLimits
from convwright.designing.request import DesignRequest
from convwright.designing.shared_race import RaceDescription, RaceStorage, seconds_for, tasks_of
from convwright.designing.sharing import explain_changed_images
from convwright.designing.state import State
from convwright.designing.trials import Trial
from convwright.errors import ArgumentError, ConvwrightError, ImagesChangedError, UsageError
from convwright.machine import available_cores
from convwright.scaling.budget import as_budget
from convwright.scaling.database import sqlite_in
from convwright.scaling.storage import StudyError

from .first import first_candidates

TWO = pytest.mark.skipif(len(available_cores()) < 2, reason="needs two processor cores")
BUDGET = "macs<=1M, params<=60K"
COMMAND = [sys.executable, "-m", "convwright", "design", "digits", "--budget", BUDGET]


@pytest.fixture
def planned(tmp_path) -> State:
    """A design whose first round is planned."""
    limits = CandidateLimits(as_budget("macs<=5M"))
    found = [each for each in first_candidates(28, 1, 10, limits) if isinstance(each, Candidate)]
    state = State(tmp_path, {"seed": 3}, candidates=found, rounds=[[each.name for each in found[:3]]])
    state.plans.append({"seconds": 10.0, "until": 50.0})
    state.save()
    return state


def storage_of(state: State) -> RaceStorage:
    return RaceStorage(sqlite_in(state.folder), "race", state.folder, RaceDescription(state.key))


def ended(name: str, problem: str | None = None) -> Trial:
    return Trial(name, 0, 3, "race/0-00", 0.5, "01", 2, 1.0, 1.0, problem=problem)


def test_all_trials_of_a_round_have_one_seed_and_end_once(planned) -> None:
    storage = storage_of(planned)
    tasks = tasks_of(planned)
    assert [*tasks.values()] == planned.rounds[0]
    assert {task.seed for task in tasks} == {3}
    for task, name in tasks.items():
        claim = storage.claim(task)
        assert storage_of(planned).claim(task) is None, "it is claimed already"
        assert claim.complete(ended(name))
        assert storage_of(planned).claim(task) is None, "it has ended already"
    assert [each.candidate for each in storage.results().values()] == planned.rounds[0]
    assert storage.remaining() == []
    planned.decide("race", f"{planned.rounds[0][0]} wins", "the highest accuracy")
    assert storage.remaining() is None


def test_trials_that_begin_late_are_shorter(planned) -> None:
    assert seconds_for(planned, 0, passed=30.0) == 10.0
    assert seconds_for(planned, 0, passed=44.0) == 6.0
    assert seconds_for(planned, 0, passed=70.0) > 0


def test_a_database_is_not_shared_with_another_design(planned) -> None:
    storage_of(planned)
    with pytest.raises(StudyError, match="belongs to another design; use another folder or study name"):
        RaceStorage(sqlite_in(planned.folder), "race", planned.folder, RaceDescription("other"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 1000}, "workers: must be 1 to"),
        ({"workers": 0}, "workers: must be 1 to"),
        ({"workers": 2, "cluster": "local"}, "workers: cannot be combined with a cluster"),
        ({"cores_per_task": 2, "storage": "sqlite:///race.db"}, "cores_per_task: needs a cluster"),
        ({"storage": "nonsense"}, "storage: must be the URL of a database"),
    ],
)
def test_wrong_workers_are_refused_before_any_work(tmp_path, options, message) -> None:
    with pytest.raises(UsageError, match=message):
        cw.design("digits", minutes=1, out=tmp_path / "design", progress=False, **options)
    assert not (tmp_path / "design" / "state.json").exists()


def test_a_folder_that_shares_no_trials_is_refused_by_workers(planned) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "convwright", "scale", "work", str(planned.folder)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "this design has no trials for other workers" in done.stderr


def until(condition, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition stayed false"
        time.sleep(0.05)


def workers_of(folder: Path) -> list[int]:
    listed = subprocess.run(["ps", "-wweo", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, state, words in lines if f"scale work {folder}" in words and not state.startswith("Z")]


def check_complete(out: Path, url: str | None = None) -> None:
    """Check that every trial of every round has one result, and that the design has all of them."""
    state = State.open(out)
    with create_engine(url or sqlite_in(out)).connect() as connection:
        rows = connection.execute(text("SELECT candidate, seed, epochs, outcome FROM convwright_tasks")).all()
    assert all(row.outcome is not None for row in rows)
    assert set(Counter(tuple(row[:3]) for row in rows).values()) == {1}
    found = {(each.candidate, each.round) for each in state.trials}
    dropped = {each.decision.removesuffix(" is dropped") for each in state.decisions}
    dropped |= {each.name for each in state.left_out}
    for round_, names in enumerate(state.rounds):
        for name in names:
            assert (name, round_) in found or name in dropped
    assert len(found) == len(state.trials)
    assert state.race_ended


@pytest.mark.parametrize("changed", [True, False])
def test_workers_that_meet_changed_images_fail_as_a_design_without_workers(tmp_path, changed: bool) -> None:
    for name, shade in (("dark", 20), ("light", 200)):
        for number in range(30):
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), shade + number).save(path)
    request = DesignRequest(Data(str(tmp_path / "photos")), None, 60, tmp_path / "design")
    state = State(request.out, request.to_dict(), fingerprint=request.data.dataset().fingerprint)
    failure = ConvwrightError("a worker failed: without a message")
    if changed:
        (tmp_path / "photos/dark/3.png").unlink()
    with pytest.raises(ConvwrightError) as raised, explain_changed_images(request, state):
        raise failure
    if not changed:
        assert raised.value is failure
        return
    with pytest.raises(ImagesChangedError) as alone:
        request.check_unchanged(state.fingerprint)
    assert type(raised.value) is ImagesChangedError
    assert str(raised.value) == str(alone.value)


@pytest.mark.slow
@TWO
def test_a_race_is_complete_though_a_worker_is_killed(tmp_path) -> None:
    out = tmp_path / "design"
    command = [*COMMAND, "--minutes", "1", "--workers", "2", "--out", str(out), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as design:
        until(lambda: [*out.glob("race/*/config.yaml")] or design.poll() is not None)
        os.kill(workers_of(out)[0], signal.SIGKILL)
        printed, errors = design.communicate(timeout=240)
    assert design.returncode == 0, errors
    assert Path(json.loads(printed)["file"]).exists()
    assert not workers_of(out)
    check_complete(out)


@pytest.mark.slow
def test_a_race_on_postgresql_is_resumed_with_its_database(postgres, tmp_path) -> None:
    from convwright.scaling.database import check_url

    out, url = tmp_path / "design", check_url(postgres)
    command = [*COMMAND, "--minutes", "1", "--storage", postgres, "--study", "race", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as design:
        until(lambda: [*out.glob("race/*/config.yaml")] or design.poll() is not None)
        design.kill()
    assert postgres not in (out / "state.json").read_text(), "a URL may have a password"
    until(lambda: not workers_of(out))
    found = cw.design(resume=out, progress=False)
    assert found.file.exists()
    assert not (out / "study.db").exists()
    check_complete(out, url)


@pytest.mark.slow
def test_a_design_on_a_cluster_has_its_runs_here(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else Ray's workers give way to all other tests
    found = cw.design("digits", BUDGET, minutes=1, cluster="local", out=tmp_path / "design", progress=False)
    state = found.state
    for trial in state.trials:
        assert trial.problem is not None or cw.load(tmp_path / "design" / trial.run).classes == tuple("0123456789")
    check_complete(tmp_path / "design")


def test_options_of_workers_are_those_of_the_request(tmp_path) -> None:
    with pytest.raises(ArgumentError, match="cannot be combined with `resume`"):
        cw.design(resume=tmp_path, storage="sqlite:///x.db")
