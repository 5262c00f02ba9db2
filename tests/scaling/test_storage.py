"""Study storage: one claim for each task, none lost with its worker, and each study distinguished from others."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from convwright.errors import ConvwrightError, UsageError
from convwright.scaling.database import check_url, hide_password, sqlite_in
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome
from convwright.scaling.storage import StudyError, StudyStorage

from ..limits import files_up_to
from .conftest import until

TASK = Task(0, 0, 0.25)


@pytest.fixture
def storage(experiment, tmp_path):
    return StudyStorage(sqlite_in(tmp_path), "study", experiment)


def test_results_come_back_as_they_were(storage, experiment, tmp_path):
    outcome = Outcome(0.875, 0.4, 0.8, 1.5, 2.5)
    storage.claim(TASK).complete(outcome)
    assert StudyStorage(sqlite_in(tmp_path), "study", experiment).results() == {TASK: outcome}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of a database of each kind."""
    return sqlite_in(tmp_path) if request.param == "sqlite" else check_url(request.getfixturevalue("postgres"))


def test_a_task_is_claimed_once_by_however_many_workers(experiment, url):
    storages = [StudyStorage(url, "claims", experiment) for _ in range(6)]
    start, claims = threading.Barrier(6), []

    def claim(storage):
        start.wait()
        claims.append(storage.claim(TASK))

    threads = [threading.Thread(target=claim, args=[storage]) for storage in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in claims) == 1
    assert storages[0].running() == {TASK}


def test_a_finished_task_cannot_be_claimed(storage):
    storage.claim(TASK).complete(Outcome(0.5))
    assert storage.claim(TASK) is None
    assert storage.results()[TASK].accuracy == 0.5


def test_a_released_task_can_be_claimed_again(storage):
    with pytest.raises(RuntimeError, match="oops"), storage.heartbeats(storage.claim(TASK)):
        raise RuntimeError("oops")
    assert storage.running() == set()
    assert storage.claim(TASK) is not None


def test_a_claim_of_this_process_that_was_interrupted_is_released(storage, monkeypatch):
    def fails(action):
        raise OperationalError("UPDATE", {}, Exception("locked"))

    claim = storage.claim(TASK)
    with monkeypatch.context() as patch, storage.heartbeats(claim):
        patch.setattr(storage.database, "once", fails)
        claim.release()
    assert set(storage.workers()) == {TASK}, "the database did not take the release"
    assert storage.running() == set()
    assert storage.claim(TASK) is not None


def test_a_heartbeat_keeps_a_claim_that_another_worker_is_about_to_release(storage, elsewhere, monkeypatch):
    with elsewhere():
        storage.claim(TASK)
    age(storage)
    run = storage.database.run

    def beats_after_reading(action):
        found = run(action)
        monkeypatch.setattr(storage.database, "run", run)
        with storage.database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE convwright_tasks SET heartbeat = CURRENT_TIMESTAMP")
        return found

    monkeypatch.setattr(storage.database, "run", beats_after_reading)
    assert storage.running() == {TASK}
    assert set(storage.workers()) == {TASK}


CLAIMER = """
import json, os, signal, sys
from pathlib import Path
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.storage import StudyStorage
experiment = Experiment.from_dict(json.loads(Path(sys.argv[1]).read_text()))
StudyStorage(sys.argv[2], "study", experiment).claim(Task(0, 0, 0.25))
os.kill(os.getpid(), signal.SIGKILL)
"""


def age(storage):
    """Make the heartbeats of a study an hour old."""
    hour_ago = "datetime('now', '-1 hour')" if storage.url.startswith("sqlite") else "now() - interval '1 hour'"
    with storage.database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE convwright_tasks SET heartbeat = {hour_ago}")


@pytest.fixture
def elsewhere(monkeypatch):
    """Return a context in which this process is one of another machine."""
    import convwright.scaling.process_identity as module

    @contextmanager
    def context():
        with monkeypatch.context() as patch:
            patch.setattr(module, "_host", lambda: "elsewhere")
            yield

    return context


def test_the_task_of_a_killed_process_is_released_at_once(storage, experiment, tmp_path):
    (tmp_path / "experiment.json").write_text(json.dumps(experiment.to_dict()))
    command = [sys.executable, "-c", CLAIMER, str(tmp_path / "experiment.json"), sqlite_in(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -9
    assert set(storage.workers()) == {TASK}, "the process was killed with a claim"
    assert storage.running() == set()
    assert storage.claim(TASK) is not None


def test_a_silent_worker_of_another_machine_counts_as_dead_after_a_while(experiment, url, elsewhere):
    storage = StudyStorage(url, "silent", experiment)
    with elsewhere():
        claim = storage.claim(TASK)
    assert storage.running() == {TASK}, "a claim has a heartbeat from the start"
    age(storage)
    assert storage.running() == set()
    assert not claim.complete(Outcome(0.9))
    assert storage.results() == {}, "the result comes too late: another worker may have the task by now"


def test_a_result_that_comes_too_late_does_not_replace_that_of_another_worker(storage, elsewhere):
    with elsewhere():
        late = storage.claim(TASK)
    age(storage)
    storage.running()
    other = storage.claim(TASK)
    assert not late.complete(Outcome(0.1))
    late.release()
    assert storage.running() == {TASK}, "a claim releases its own task only"
    assert other.complete(Outcome(0.9))
    assert not late.complete(Outcome(0.1))
    assert storage.results()[TASK].accuracy == 0.9


def test_heartbeats_are_sent_while_a_task_is_trained(storage, elsewhere, monkeypatch):
    monkeypatch.setattr("convwright.scaling.storage.HEARTBEAT", 0.05)
    with elsewhere():
        claim = storage.claim(TASK)
    age(storage)
    with storage.heartbeats(claim):
        until(lambda: not is_old(storage), seconds=20)
        assert storage.running() == {TASK}


def is_old(storage):
    with storage.database.engine.begin() as connection:
        query = "SELECT heartbeat < datetime('now', '-1 minute') FROM convwright_tasks"
        return bool(connection.exec_driver_sql(query).scalar())


def test_a_worker_of_this_machine_that_was_asleep_keeps_its_task(storage):
    claim = storage.claim(TASK)
    age(storage)
    assert storage.running() == {TASK}
    assert claim.complete(Outcome(0.9))
    assert storage.results()[TASK].accuracy == 0.9


def test_without_proc_heartbeats_alone_decide(storage, monkeypatch):
    """As on macOS and Windows, where a process cannot be looked up."""
    monkeypatch.setattr("convwright.scaling.process_identity._start_time", lambda process: None)
    storage.claim(TASK)
    assert storage.running() == {TASK}
    age(storage)
    assert storage.running() == set()


def test_completing_twice_counts_once(storage):
    """As after a connection that was lost once the result was stored."""
    claim = storage.claim(TASK)
    assert claim.complete(Outcome(0.9))
    assert claim.complete(Outcome(0.9))
    assert len(storage.results()) == 1


@pytest.fixture(params=["densenet"])
def earlier(request, tmp_path):
    """Write a study of version 0.1, which Optuna stored, with a recipe; return its experiment."""
    text = (Path(__file__).parent / "earlier_study.sql").read_text()
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.executescript(text.replace('"recipe": "fast"', f'"recipe": "{request.param}"'))
        stored = connection.execute("SELECT value_json FROM study_user_attributes").fetchone()[0]
    return Experiment.from_dict(json.loads(stored))


def test_a_study_of_an_earlier_version_is_taken_over(earlier, tmp_path):
    for _ in range(2):  # it is taken over once
        results = StudyStorage(sqlite_in(tmp_path), "study", earlier).results()
        assert results == {
            Task(0, 0, 0.25): Outcome(0.875, 0.4, None, 1.5, 2.5),
            Task(1, 0, 0.25): Outcome(0.0, seconds=0.5, diverged="the loss became nan"),
        }
    storage = StudyStorage(sqlite_in(tmp_path), "study", earlier)
    assert storage.running() == set(), "only results are taken over"
    assert storage.claim(Task(0, 0, 0.25)) is None
    assert storage.claim(Task(2, 0, 0.25)).complete(Outcome(0.5))


@pytest.mark.parametrize("earlier", ["fast"], indirect=True)
def test_a_study_is_not_continued_with_a_recipe_that_has_changed_since(earlier, tmp_path):
    with pytest.raises(StudyError, match=r"in the recipe fast, learning_rate is 0.2 there and 0.05 here"):
        StudyStorage(sqlite_in(tmp_path), "study", earlier)


def test_another_experiment_than_that_of_an_earlier_version_is_refused(earlier, tmp_path):
    with pytest.raises(StudyError, match="recipe is 'densenet' there and 'senet' here"):
        StudyStorage(sqlite_in(tmp_path), "study", replace(earlier, recipe="senet"))


def test_other_studies_of_optuna_do_not_matter(earlier, experiment, tmp_path):
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute("UPDATE study_user_attributes SET key = 'note'")
        connection.commit()
    assert StudyStorage(sqlite_in(tmp_path), "study", experiment).results() == {}


def test_a_study_of_a_newer_version_is_refused(storage, experiment, tmp_path):
    with storage.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE convwright_studies SET schema_version = 99")
    with pytest.raises(StudyError, match="newer version of Convwright created it; update Convwright"):
        StudyStorage(sqlite_in(tmp_path), "study", experiment)


def test_an_experiment_survives_json(experiment):
    assert Experiment.from_dict(json.loads(json.dumps(experiment.to_dict()))) == experiment


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "photos", "fingerprint": "00"}, "the data is digits there and photos here"),
        ({"fingerprint": "00"}, "the images of digits are not those"),
        ({"recipe": "senet"}, "recipe is 'fast' there and 'senet' here"),
        ({"fields": {"progressive": 0.5}}, r"fields.progressive is 0.0 there and 0.5 here"),
        ({"options": {"batch_size": 8}}, "options.batch_size is None there and 8 here"),
    ],
)
def test_another_experiment_is_refused_with_the_difference(storage, experiment, tmp_path, change, message):
    with pytest.raises(StudyError, match=message):
        StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, **change))


def test_the_same_images_may_lie_elsewhere(storage, experiment, tmp_path):
    storage.claim(TASK).complete(Outcome(0.5))
    elsewhere = StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, data="/mnt/digits/"))
    assert elsewhere.results()[TASK].accuracy == 0.5


def test_another_base_or_schedule_is_refused(storage, experiment, tmp_path):
    import convwright as cw

    with pytest.raises(StudyError, match=r"the base network is .* there and resnet18 here"):
        StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, base=cw.network("resnet18")))
    with pytest.raises(StudyError, match=r"schedule.seeds is 2 there and 5 here"):
        StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, schedule=replace(experiment.schedule, seeds=5)))


def test_studies_of_one_database_do_not_meet(storage, experiment, tmp_path):
    storage.claim(TASK).complete(Outcome(0.5))
    other = replace(experiment, recipe="senet")
    assert StudyStorage(sqlite_in(tmp_path), "another", other).results() == {}


def test_workers_that_start_together_make_one_study(experiment, url):
    start, made, failed = threading.Barrier(4), [], []

    def create():
        start.wait()
        try:
            made.append(StudyStorage(url, "together", experiment).study)
        except ConvwrightError as error:
            failed.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(made)) == 1


def test_a_database_that_does_not_answer_is_reported_in_a_line_without_the_password(experiment):
    url = check_url("postgresql://me:secret@127.0.0.1:1/nothing")
    with pytest.raises(ConvwrightError, match="does not answer") as error:
        StudyStorage(url, "study", experiment)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in hide_password(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "must be the URL of a database"),
        ("oracle://x/y", "no driver for oracle"),
        ("postgresql://me:secret@host:port/studies", "must be the URL of a database"),
        ("sqlite://", "would keep nothing"),
        ("sqlite:///:memory:", "would keep nothing"),
    ],
)
def test_wrong_urls_are_refused(url, message):
    with pytest.raises(UsageError, match=message) as error:
        check_url(url)
    assert "secret" not in str(error.value)


def test_a_folder_may_have_any_name(experiment, tmp_path):
    folder = tmp_path / "what? 100 % #1"
    folder.mkdir()
    StudyStorage(sqlite_in(folder), "study", experiment).claim(TASK).complete(Outcome(0.5))
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    assert len(StudyStorage(sqlite_in(folder), "study", experiment).results()) == 1


def test_a_damaged_database_is_reported(experiment, tmp_path):
    (tmp_path / "study.db").write_bytes(os.urandom(4096))
    with pytest.raises(ConvwrightError, match="does not answer: file is not a database"):
        StudyStorage(sqlite_in(tmp_path), "study", experiment)


def test_a_database_that_cannot_grow_is_reported_at_once_as_any_other_file(experiment, tmp_path):
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    line = rf"^{tmp_path}/study\.db could not be written: .*; results so far are kept"
    with files_up_to((tmp_path / "study.db").stat().st_size), pytest.raises(ConvwrightError, match=line):
        all(storage.claim(TASK._replace(seed=seed)) for seed in range(1000))
    assert storage.claim(TASK._replace(seed=1000)) is not None
