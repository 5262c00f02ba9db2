"""Studies carried out: here, in processes, on one PostgreSQL database and on Ray; killed, and gone on with."""

import json
import os
import pickle
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import replace

import pytest
import torch
from optuna.trial import TrialState
from PIL import Image
from sklearn.datasets import load_digits

from convwright.data import Batches, open_dataset
from convwright.errors import ConvwrightError, RunHeldError, UsageError
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.storage import StudyStorage, check_url, sqlite_in
from convwright.scaling.trial import Outcome, Trials, name_of, opener
from convwright.scaling.worker import describe, described, divided, work
from convwright.training.interrupt import Interrupted
from convwright.training.loop import Reporter
from convwright.training.run import Run

from .conftest import SEARCH, until

TWO = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processor cores")


def carried_out(experiment, folder, reporter=None):
    """Carry a study out in this process; return its storage."""
    folder.mkdir(exist_ok=True)
    storage = StudyStorage(sqlite_in(folder), "study", experiment)
    trials = Trials(experiment, folder / "trials", opener(experiment), reporter=reporter or Reporter())
    work(storage, trials)
    return storage


def comparable(storage):
    """What must come out the same, however a study was carried out."""
    return {task: (one.accuracy, one.loss) for task, one in storage.results().items()}


def complete(storage):
    """How often each task was completed."""
    return Counter(tuple(trial.user_attrs["task"]) for trial in storage._trials(TrialState.COMPLETE))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study of `SEARCH`, carried out in one go: its folder and what it said."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    done = subprocess.run([*SEARCH, "--epochs", "1", "--out", str(folder), "--json"], capture_output=True, check=True)
    return folder, json.loads(done.stdout)


def test_a_study_ends_with_every_task_done_and_nothing_left_over(experiment, tmp_path):
    storage = carried_out(experiment, tmp_path / "one")
    results = {task: one.accuracy for task, one in storage.results().items()}
    assert experiment.schedule.finished(results)
    assert set(complete(storage).values()) == {1}
    assert list((tmp_path / "one" / "trials").iterdir()) == [], "recorded runs are tidied away"


def test_equal_seeds_give_equal_results(experiment, tmp_path):
    one, other = (comparable(carried_out(experiment, tmp_path / name)) for name in ("one", "other"))
    assert one == other


def test_a_task_that_is_stopped_goes_on_where_it_was(experiment, tmp_path):
    whole = comparable(carried_out(experiment, tmp_path / "whole"))

    class Stops(Reporter):
        left = 9

        def step(self, step, images, loss):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="the same command goes on"):
        carried_out(experiment, tmp_path / "stopped", Stops())
    kept = [path for path in (tmp_path / "stopped" / "trials").iterdir() if (path / "checkpoints").exists()]
    assert len(kept) == 1

    begun = []

    class Listens(Reporter):
        def begin(self, run, done, steps):
            begun.append(done)

    assert comparable(carried_out(experiment, tmp_path / "stopped", Listens())) == whole
    assert begun[0] > 0, "it went on from its checkpoint"


def test_a_diverging_network_counts_as_nothing_right(experiment, tmp_path):
    wild = Experiment.from_json(experiment.to_json() | {"fields": {"learning_rate": 1e30}, "recipe": None})
    outcome = Trials(wild, tmp_path, opener(wild)).run(Task(0, 0, 0.5))
    assert outcome.accuracy == 0
    assert "became" in outcome.diverged


def test_a_run_of_another_study_is_not_taken_for_ones_own(experiment, tmp_path):
    task = Task(0, 0, 0.25)
    first = Trials(experiment, tmp_path, opener(experiment), keep=True).run(task)
    (tmp_path / name_of(task) / "config.yaml").write_text("network: other\n")
    assert Trials(experiment, tmp_path, opener(experiment)).run(task).accuracy == first.accuracy


def test_a_run_of_another_recipe_in_the_same_folder_is_not_taken_for_ones_own(experiment, tmp_path):
    """As is left where a study is begun anew with another --set, or under another name."""
    task = Task(0, 0, 0.25)
    other = replace(experiment, fields={"progressive": 0.0, "learning_rate": 1e-6})
    slow = Trials(other, tmp_path, opener(other), keep=True).run(task)
    own = Trials(experiment, tmp_path, opener(experiment), keep=True).run(task)
    assert own.loss != slow.loss
    assert Trials(experiment, tmp_path, opener(experiment)).run(task).loss == own.loss, "its own it does take"


def test_a_run_that_another_process_trains_is_left_alone(experiment, tmp_path):
    task = Task(0, 0, 0.25)
    Trials(experiment, tmp_path, opener(experiment), keep=True).run(task)
    path = tmp_path / name_of(task)
    (path / "summary.json").unlink()
    with Run.open(path).held(), pytest.raises(RunHeldError, match="another process is training"):
        Trials(experiment, tmp_path, opener(experiment)).run(task)
    assert (path / "config.yaml").exists()


def test_a_password_is_for_nobody_else_to_read(experiment, tmp_path):
    describe(tmp_path, StudyStorage(sqlite_in(tmp_path), "study", experiment), keep=False)
    assert (tmp_path / "study.json").stat().st_mode & 0o077 == 0


def test_kept_runs_are_runs(experiment, tmp_path):
    from convwright.prediction.network import load

    trials = Trials(experiment, tmp_path, opener(experiment), keep=True)
    task = Task(0, 0, 0.25)
    trials.run(task)
    trials.tidy(task)
    assert load(tmp_path / name_of(task)).classes == tuple("0123456789")
    assert not (tmp_path / name_of(task) / "checkpoints").exists()


def test_a_study_killed_again_and_again_loses_and_repeats_nothing(whole, tmp_path):
    folder = tmp_path / "study"
    command = [*SEARCH, "--epochs", "1", "--out", str(folder), "--json"]
    for wanted in (1, 4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: finished_trials(folder) >= wanted or process.poll() is not None)  # noqa: B023
        process.kill()
        process.wait()
    done = subprocess.run(command, capture_output=True, check=True)
    assert "have ended already" in done.stderr.decode()
    _, found = whole
    assert facts(json.loads(done.stdout)) == facts(found)
    assert set(complete(described(folder)[0]).values()) == {1}


def finished_trials(folder):
    """Count what a study's database holds, whatever state it is in."""
    import sqlite3

    try:
        with sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0]
    except sqlite3.Error:
        return 0


def facts(found):
    """A study's results without the time they took."""
    return [
        {name: one[name] for name in ("network", "seed", "epochs", "accuracy", "loss")} for one in found["trainings"]
    ]


@TWO
def test_two_workers_find_what_one_finds(whole, tmp_path):
    folder = tmp_path / "study"
    command = [*SEARCH, "--epochs", "1", "--out", str(folder), "--workers", "2", "--json"]
    done = subprocess.run(command, capture_output=True, check=True)
    _, found = whole
    assert [one["name"] for one in json.loads(done.stdout)["networks"]] == [one["name"] for one in found["networks"]]
    storage = described(folder)[0]
    assert set(complete(storage).values()) == {1}
    workers = {trial.user_attrs["worker"]["process"] for trial in storage._trials(TrialState.COMPLETE)}
    assert len(workers) == 2


@TWO
def test_a_worker_that_is_killed_is_replaced_and_workers_end_with_their_master(tmp_path):
    folder = tmp_path / "study"
    command = [*SEARCH, "--epochs", "4", "--out", str(folder), "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as master:
        until(lambda: len(workers_of(folder)) == 2)
        victim = workers_of(folder)[0]
        assert os.getsid(victim) == victim, "a terminal's Ctrl-C comes to the master alone, which asks workers to stop"
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers_of(folder)) == 2 and victim not in workers_of(folder))
        master.kill()
    until(lambda: not workers_of(folder))


def workers_of(folder):
    """Return the processes that work on a study."""
    listed = subprocess.run(["ps", "-wweo", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, state, words in lines if f"scale work {folder}" in words and not state.startswith("Z")]


def test_cores_are_divided():
    assert divided([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3, 4]]
    assert divided([3, 5], 2) == [[3], [5]]
    with pytest.raises(UsageError, match="--workers 3: this machine has 2 cores; take 1 to 2"):
        divided([3, 5], 3)


def test_a_folder_without_a_study_is_told(tmp_path):
    with pytest.raises(UsageError, match="not the folder of a study"):
        described(tmp_path)


def test_two_workers_share_a_postgresql_study_though_one_is_killed(postgres, experiment, tmp_path):
    whole = comparable(carried_out(experiment, tmp_path / "whole"))
    url = check_url(postgres)
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:  # two machines have nothing in common but the database
        folder.mkdir()
        describe(folder, StudyStorage(url, "shared", experiment), keep=False)
    storage = StudyStorage(url, "shared", experiment)
    command = [*SEARCH[:4], "work"]
    workers = [subprocess.Popen([*command, str(folder)], stderr=subprocess.PIPE) for folder in folders]
    until(lambda: storage.results() and storage._trials(TrialState.RUNNING))
    workers[0].kill()
    for worker in workers:
        worker.communicate()
    assert workers[1].returncode == 0
    assert comparable(StudyStorage(url, "shared", experiment)) == whole
    assert set(complete(storage).values()) == {1}


def test_a_database_that_goes_away_loses_no_result(experiment, tmp_path, monkeypatch):
    """The run stays where it is until its result is recorded; the same again records it, and trains nothing."""
    import convwright.scaling.storage as module

    monkeypatch.setattr(module, "PATIENCE", 0.5)
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    trials = Trials(experiment, tmp_path / "trials", opener(experiment))
    claim = storage.claim(Task(0, 0, 0.25))
    outcome = trials.run(claim.task)
    (tmp_path / "study.db").rename(tmp_path / "away")
    (tmp_path / "study.db").mkdir()
    storage.storage.engine.dispose()
    with pytest.raises(ConvwrightError, match=r"does not answer: .*; results so far are kept"):
        claim.complete(outcome)
    (tmp_path / "study.db").rmdir()
    (tmp_path / "away").rename(tmp_path / "study.db")

    class NoSteps(Reporter):
        def step(self, step, images, loss):
            pytest.fail("it was trained already")

    again = Trials(experiment, tmp_path / "trials", opener(experiment), reporter=NoSteps()).run(claim.task)
    assert again.accuracy == outcome.accuracy


def test_photos_travel_to_a_cluster_with_their_pixels(tmp_path, monkeypatch):
    """Nodes have neither the folder nor the cache of decoded images that this machine maps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = tmp_path / "photos"
    for place, image in enumerate(load_digits().images[:24]):
        (photos / str(place % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype("uint8")).resize((24, 24)).save(photos / str(place % 2) / f"{place}.png")
    data = open_dataset(str(photos), resolution=16)
    images = data.train.images.clone()
    sent = pickle.dumps(data)
    del data
    shutil.rmtree(photos)
    shutil.rmtree(tmp_path / "cache")
    there = pickle.loads(sent)
    assert torch.equal(there.train.images, images)
    assert next(iter(Batches(there.train, there, 4, 0).iterate(0, 1)))[0].shape == (4, 1, 16, 16)


@pytest.fixture(scope="module")
def cluster():
    from convwright.scaling.cluster import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else Ray's workers give way to all other tests
        with Cluster("local") as cluster:
            yield cluster


def test_a_cluster_finds_what_this_machine_finds_though_a_worker_dies(cluster, experiment, tmp_path, monkeypatch):
    whole = comparable(carried_out(experiment, tmp_path / "whole"))
    monkeypatch.setattr("convwright.scaling.cluster._run", dies_once(tmp_path / "died"))
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    cluster.work(storage, opener(experiment))
    assert (tmp_path / "died").exists()
    assert comparable(storage) == whole
    assert set(complete(storage).values()) == {1}


def dies_once(mark):
    """Return what a Ray worker runs, but for the first task, in which the worker is killed."""
    from convwright.scaling.cluster import _run

    def run(described, task, data, cores, keep):
        import os
        import signal

        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return _run(described, task, data, cores, keep)

    return run


def test_runs_that_a_cluster_trained_come_back(cluster, experiment, tmp_path):
    from convwright.prediction.network import load

    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    cluster.work(storage, opener(experiment), keep=tmp_path / "trials")
    results = storage.results()
    assert {path.name for path in (tmp_path / "trials").iterdir()} == {name_of(task) for task in results}
    for task, outcome in results.items():
        run = Run.open(tmp_path / "trials" / name_of(task))
        assert run.summary["val_accuracy"] == outcome.accuracy
        assert load(run.path).classes == tuple("0123456789")
        assert not (run.path / "checkpoints").exists()


def test_a_run_that_cannot_be_written_here_is_an_error(cluster, experiment, tmp_path):
    (tmp_path / "trials").write_text("")
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    with pytest.raises(ConvwrightError, match="the folder could not be made"):
        cluster.work(storage, opener(experiment), keep=tmp_path / "trials")
    assert storage.results() == {}, "a result without its run does not count"


def test_a_cluster_that_fails_is_told_in_a_line(cluster, experiment, tmp_path, monkeypatch):
    def fails(described, task, data, cores, keep):
        raise ValueError("no luck")

    monkeypatch.setattr("convwright.scaling.cluster._run", fails)
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    with pytest.raises(ConvwrightError, match=r"the cluster failed to train it.*no luck"):
        cluster.work(storage, opener(experiment))
    assert storage.running() == set(), "its claims are given up"


def test_outcomes_survive_json():
    outcome = Outcome(0.5, 0.1, None, 1.0, 2.0, "the loss became nan")
    assert Outcome(**json.loads(json.dumps(outcome.to_json()))) == outcome
