"""Studies that are run here, in processes, on one PostgreSQL database and on Ray; killed and resumed."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sqlalchemy import text

from convwright.data import Batches, open_dataset
from convwright.errors import ConvwrightError, RunHeldError, UsageError
from convwright.machine import available_cores
from convwright.scaling.database import check_url, sqlite_in
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome
from convwright.scaling.preparation import divide_cores
from convwright.scaling.storage import StudyStorage
from convwright.scaling.task_runner import TaskRunner, data_opener, run_name
from convwright.scaling.work_process import run_worker
from convwright.scaling.worker import open_study, work, worker_processes, write_description
from convwright.training.callbacks import Callback
from convwright.training.interrupt import Interrupted
from convwright.training.run import Run

from .conftest import SEARCH, until

TWO = pytest.mark.skipif(len(available_cores()) < 2, reason="needs two processor cores")


def run_here(experiment, folder, callback=None):
    """Run a study in this process; return its storage."""
    folder.mkdir(exist_ok=True)
    storage = StudyStorage(sqlite_in(folder), "study", experiment)
    runner = TaskRunner(experiment, folder / "trials", data_opener(experiment), callback=callback or Callback())
    work(storage, runner)
    return storage


def comparable(storage):
    """Return the results that must be equal however a study was run."""
    return {task: (one.accuracy, one.loss) for task, one in storage.results().items()}


def completed(storage):
    """Return how many results each task has."""
    query = "SELECT candidate, seed, epochs, outcome FROM convwright_tasks WHERE study = :study"
    with storage.database.engine.connect() as connection:
        rows = connection.execute(text(query), {"study": storage.study}).all()
    return Counter(tuple(row[:3]) for row in rows if row.outcome is not None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Run the study of `SEARCH` without interruption; return its folder and what it found."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    done = subprocess.run([*SEARCH, "--epochs", "1", "--out", str(folder), "--json"], capture_output=True, check=True)
    return folder, json.loads(done.stdout)


def test_a_study_ends_with_every_task_done_and_nothing_left_over(experiment, tmp_path):
    storage = run_here(experiment, tmp_path / "one")
    results = {task: one.accuracy for task, one in storage.results().items()}
    assert experiment.schedule.finished(results)
    assert set(completed(storage).values()) == {1}
    assert list((tmp_path / "one" / "trials").iterdir()) == [], "runs whose results are stored are removed"


def test_equal_seeds_give_equal_results(experiment, tmp_path):
    one, other = (comparable(run_here(experiment, tmp_path / name)) for name in ("one", "other"))
    assert one == other


def test_a_task_that_was_stopped_is_resumed(experiment, tmp_path):
    whole = comparable(run_here(experiment, tmp_path / "whole"))

    class Stops(Callback):
        left = 9

        def on_step(self, step):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="the same command or call resumes the study"):
        run_here(experiment, tmp_path / "stopped", Stops())
    kept = [path for path in (tmp_path / "stopped" / "trials").iterdir() if (path / "checkpoints").exists()]
    assert len(kept) == 1

    starts = []

    class Listens(Callback):
        def on_start(self, run):
            starts.append(run.first_step)

    assert comparable(run_here(experiment, tmp_path / "stopped", Listens())) == whole
    assert starts[0] > 0, "the run is resumed from its checkpoint"


@pytest.mark.parametrize("place", ["before training", "at the end of the heartbeats"])
def test_a_study_that_ctrl_c_stopped_continues_in_the_same_process(experiment, tmp_path, monkeypatch, place):
    shown = []

    def show(task):
        shown.append(task)
        if len(shown) == 2 and place == "before training":
            raise KeyboardInterrupt

    def join(thread, timeout=None):
        if len(shown) == 2 and place != "before training" and thread.daemon:
            raise KeyboardInterrupt
        original(thread, timeout)

    original = threading.Thread.join
    experiment = replace(experiment, schedule=replace(experiment.schedule, epochs=0.1, rungs=1, seeds=1))
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    runner = TaskRunner(experiment, tmp_path / "trials", data_opener(experiment))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", join)
        with pytest.raises(KeyboardInterrupt):
            work(storage, runner, show)
    assert len(shown) == 2
    monkeypatch.setattr("convwright.scaling.worker.POLL", -1)  # waiting is an error
    again = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    work(again, runner)
    assert set(completed(again).values()) == {1}


def test_a_diverging_network_has_accuracy_0(experiment, tmp_path):
    wild = Experiment.from_dict(experiment.to_dict() | {"fields": {"learning_rate": 1e30}, "recipe": None})
    outcome = TaskRunner(wild, tmp_path, data_opener(wild)).run(Task(0, 0, 0.5))
    assert outcome.accuracy == 0
    assert "became" in outcome.diverged


def test_a_run_of_another_study_is_not_resumed(experiment, tmp_path):
    task = Task(0, 0, 0.25)
    first = TaskRunner(experiment, tmp_path, data_opener(experiment), keep_runs=True).run(task)
    (tmp_path / run_name(task) / "config.yaml").write_text("network: other\n")
    assert TaskRunner(experiment, tmp_path, data_opener(experiment)).run(task).accuracy == first.accuracy


def test_a_run_of_another_recipe_in_the_same_folder_is_not_resumed(experiment, tmp_path):
    """Such a run stays where a study starts again with another --set, or under another name."""
    task = Task(0, 0, 0.25)
    other = replace(experiment, fields={"progressive": 0.0, "learning_rate": 1e-6})
    slow = TaskRunner(other, tmp_path, data_opener(other), keep_runs=True).run(task)
    own = TaskRunner(experiment, tmp_path, data_opener(experiment), keep_runs=True).run(task)
    assert own.loss != slow.loss
    assert TaskRunner(experiment, tmp_path, data_opener(experiment)).run(task).loss == own.loss, (
        "its own run is resumed"
    )


def test_a_run_that_another_process_trains_is_left_alone(experiment, tmp_path):
    task = Task(0, 0, 0.25)
    TaskRunner(experiment, tmp_path, data_opener(experiment), keep_runs=True).run(task)
    path = tmp_path / run_name(task)
    (path / "summary.json").unlink()
    with Run.open(path).held(), pytest.raises(RunHeldError, match="another process is training"):
        TaskRunner(experiment, tmp_path, data_opener(experiment)).run(task)
    assert (path / "config.yaml").exists()


def test_only_the_owner_can_read_a_password(experiment, tmp_path):
    write_description(tmp_path, StudyStorage(sqlite_in(tmp_path), "study", experiment), keep_runs=False)
    assert (tmp_path / "study.json").stat().st_mode & 0o077 == 0


def test_kept_runs_are_runs(experiment, tmp_path):
    from convwright.prediction.network import load

    runner = TaskRunner(experiment, tmp_path, data_opener(experiment), keep_runs=True)
    task = Task(0, 0, 0.25)
    runner.run(task)
    runner.clean_up(task)
    assert load(tmp_path / run_name(task)).classes == tuple("0123456789")
    assert not (tmp_path / run_name(task) / "checkpoints").exists()


@pytest.mark.slow
def test_a_study_killed_again_and_again_loses_and_repeats_nothing(whole, tmp_path):
    folder = tmp_path / "study"
    command = [*SEARCH, "--epochs", "1", "--out", str(folder), "--json"]
    for wanted in (1, 4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: stored_results(folder) >= wanted or process.poll() is not None)  # noqa: B023
        process.kill()
        process.wait()
    done = subprocess.run(command, capture_output=True, check=True)
    assert "were finished before" in done.stderr.decode()
    _, found = whole
    assert facts(json.loads(done.stdout)) == facts(found)
    assert set(completed(open_study(folder)[0]).values()) == {1}


def stored_results(folder):
    """Return the number of results in a study's database, whatever state it is in."""
    import sqlite3

    try:
        with sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM convwright_tasks WHERE outcome IS NOT NULL").fetchone()[0]
    except sqlite3.Error:
        return 0


def facts(found):
    """Return the results of a study without the time they took."""
    return [
        {name: one[name] for name in ("network", "seed", "epochs", "accuracy", "loss")} for one in found["trainings"]
    ]


@pytest.mark.slow
@TWO
def test_two_workers_find_what_one_worker_finds(whole, tmp_path):
    folder = tmp_path / "study"
    command = [*SEARCH, "--epochs", "1", "--out", str(folder), "--workers", "2", "--json"]
    done = subprocess.run(command, capture_output=True, check=True)
    _, found = whole
    assert [one["name"] for one in json.loads(done.stdout)["networks"]] == [one["name"] for one in found["networks"]]
    storage = open_study(folder)[0]
    assert set(completed(storage).values()) == {1}
    assert len({worker.process for worker in storage.workers().values()}) == 2


@TWO
def test_a_worker_that_is_killed_is_replaced_and_workers_end_with_the_process_that_started_them(tmp_path):
    folder = tmp_path / "study"
    command = [*SEARCH, "--epochs", "4", "--out", str(folder), "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as parent:
        until(lambda: len(workers_of(folder)) == 2)
        victim = workers_of(folder)[0]
        assert os.getsid(victim) == victim, "Ctrl-C in a terminal reaches the parent alone, which stops its workers"
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers_of(folder)) == 2 and victim not in workers_of(folder))
        parent.kill()
    until(lambda: not workers_of(folder))


def workers_of(folder):
    """Return the worker processes of a study."""
    listed = subprocess.run(["ps", "-wweo", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, state, words in lines if f"scale work {folder}" in words and not state.startswith("Z")]


def test_workers_that_are_stopped_write_a_checkpoint_and_are_resumed(experiment, tmp_path):
    long = replace(experiment, schedule=replace(experiment.schedule, epochs=30, rungs=1, seeds=1))
    storage = StudyStorage(sqlite_in(tmp_path), "study", long)
    write_description(tmp_path, storage, keep_runs=False)
    with worker_processes(tmp_path, 1) as workers:
        until(lambda: list(tmp_path.glob("trials/*/config.yaml")) or not workers.check())
        time.sleep(2)  # until the training has started
    assert workers.processes[0].returncode not in (None, 0)
    assert "the same command or call resumes the study" in (tmp_path / "worker1.log").read_text()
    assert list(tmp_path.glob("trials/*/checkpoints/*"))
    assert storage.running() == set(), "its task is released"


def test_a_study_runs_on_systems_without_posix(no_posix, experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("convwright.scaling.process_identity._start_time", lambda process: None)
    threads = torch.get_num_threads()
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    write_description(tmp_path, storage, keep_runs=False)
    try:
        run_worker(tmp_path, cores=[0])
    finally:
        torch.set_num_threads(threads)
    assert experiment.schedule.finished({task: outcome.accuracy for task, outcome in storage.results().items()})


def test_cores_are_divided():
    assert divide_cores([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3, 4]]
    assert divide_cores([3, 5], 2) == [[3], [5]]
    with pytest.raises(UsageError, match="workers: must be 1 to 2, the cores of this machine, not 3"):
        divide_cores([3, 5], 3)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not the folder of a study"):
        open_study(tmp_path)


def test_two_workers_share_a_postgresql_study_though_one_is_killed(postgres, experiment, tmp_path):
    whole = comparable(run_here(experiment, tmp_path / "whole"))
    url = check_url(postgres)
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:  # as of two machines, which share the database alone
        folder.mkdir()
        write_description(folder, StudyStorage(url, "shared", experiment), keep_runs=False)
    storage = StudyStorage(url, "shared", experiment)
    command = [*SEARCH[:4], "work"]
    workers = [subprocess.Popen([*command, str(folder)], stderr=subprocess.PIPE) for folder in folders]
    until(lambda: storage.results() and storage.running())
    workers[0].kill()
    for worker in workers:
        worker.communicate()
    assert workers[1].returncode == 0
    assert comparable(StudyStorage(url, "shared", experiment)) == whole
    assert set(completed(storage).values()) == {1}


def test_a_database_that_goes_away_loses_no_result(experiment, tmp_path, monkeypatch):
    """The run stays until its result is stored; an equal call stores the result, and trains nothing."""
    import convwright.scaling.database as module

    monkeypatch.setattr(module, "PATIENCE", 0.5)
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    runner = TaskRunner(experiment, tmp_path / "trials", data_opener(experiment))
    claim = storage.claim(Task(0, 0, 0.25))
    outcome = runner.run(claim.task)
    (tmp_path / "study.db").rename(tmp_path / "away")
    (tmp_path / "study.db").mkdir()
    storage.database.engine.dispose()
    with pytest.raises(ConvwrightError, match=r"does not answer: .*; results so far are kept"):
        claim.complete(outcome)
    (tmp_path / "study.db").rmdir()
    (tmp_path / "away").rename(tmp_path / "study.db")

    class NoSteps(Callback):
        def on_step(self, step):
            pytest.fail("the task was trained before")

    again = TaskRunner(experiment, tmp_path / "trials", data_opener(experiment), callback=NoSteps()).run(claim.task)
    assert again.accuracy == outcome.accuracy


def test_photos_travel_to_a_cluster_with_their_pixels(tmp_path, monkeypatch):
    """Nodes have neither the folder nor the cache of decoded images."""
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
    whole = comparable(run_here(experiment, tmp_path / "whole"))
    monkeypatch.setattr("convwright.scaling.cluster._run", dies_once(tmp_path / "died"))
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    cluster.work(storage, data_opener(experiment))
    assert (tmp_path / "died").exists()
    assert comparable(storage) == whole
    assert set(completed(storage).values()) == {1}


def dies_once(mark):
    """Return a function for Ray workers in which the worker of the first task is killed."""
    from convwright.scaling.cluster import _run

    def run(description, task, data, cores, keep):
        import os
        import signal

        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return _run(description, task, data, cores, keep)

    return run


def test_runs_that_a_cluster_trained_come_back(cluster, experiment, tmp_path):
    from convwright.prediction.network import load

    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    cluster.work(storage, data_opener(experiment), keep=tmp_path / "trials")
    results = storage.results()
    assert {path.name for path in (tmp_path / "trials").iterdir()} == {run_name(task) for task in results}
    for task, outcome in results.items():
        run = Run.open(tmp_path / "trials" / run_name(task))
        assert run.summary.val_accuracy == outcome.accuracy
        assert load(run.path).classes == tuple("0123456789")
        assert not (run.path / "checkpoints").exists()


def test_a_run_that_cannot_be_written_here_is_an_error(cluster, experiment, tmp_path):
    (tmp_path / "trials").write_text("")
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    with pytest.raises(ConvwrightError, match="the folder could not be made"):
        cluster.work(storage, data_opener(experiment), keep=tmp_path / "trials")
    assert storage.results() == {}, "a result without its run does not count"


def test_a_cluster_that_fails_is_reported_in_a_line(cluster, experiment, tmp_path, monkeypatch):
    def fails(description, task, data, cores, keep):
        raise ValueError("no luck")

    monkeypatch.setattr("convwright.scaling.cluster._run", fails)
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    with pytest.raises(ConvwrightError, match=r"the cluster failed to train it.*no luck"):
        cluster.work(storage, data_opener(experiment))
    assert storage.running() == set(), "its claims are released"


def test_outcomes_survive_json():
    outcome = Outcome(0.5, 0.1, None, 1.0, 2.0, "the loss became nan")
    assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome
