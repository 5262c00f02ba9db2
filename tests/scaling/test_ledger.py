"""The record of a study: one claim a task, none lost with its worker, and no study mistaken for another."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from convwright.errors import ConvwrightError, UsageError
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.storage import StudyError, StudyStorage, check_url, shown, sqlite_in
from convwright.scaling.trial import Outcome

TASK = Task(0, 0, 0.25)


@pytest.fixture
def storage(experiment, tmp_path):
    return StudyStorage(sqlite_in(tmp_path), "study", experiment)


def test_results_come_back_as_they_were(storage, experiment, tmp_path):
    outcome = Outcome(0.875, 0.4, 0.8, 1.5, 2.5)
    storage.claim(TASK).complete(outcome)
    assert StudyStorage(sqlite_in(tmp_path), "study", experiment).results() == {TASK: outcome}


def test_optuna_itself_reads_the_study(storage, tmp_path):
    storage.claim(TASK).complete(Outcome(0.875))
    study = optuna.load_study(study_name="study", storage=sqlite_in(tmp_path))
    assert study.best_value == 0.875
    assert study.best_params == {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}


def test_a_task_is_claimed_once_however_many_want_it(experiment, tmp_path):
    ledgers = [StudyStorage(sqlite_in(tmp_path), "study", experiment) for _ in range(6)]
    start, claims = threading.Barrier(6), []

    def want(storage):
        start.wait()
        claims.append(storage.claim(TASK))

    threads = [threading.Thread(target=want, args=[storage]) for storage in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in claims) == 1
    assert ledgers[0].running() == {TASK}


def test_a_finished_task_cannot_be_claimed(storage):
    storage.claim(TASK).complete(Outcome(0.5))
    assert storage.claim(TASK) is None
    assert storage.results()[TASK].accuracy == 0.5


def test_a_claim_that_is_given_up_is_free_again(storage):
    with pytest.raises(RuntimeError, match="oops"), storage.alive(storage.claim(TASK)):
        raise RuntimeError("oops")
    assert storage.running() == set()
    assert storage.claim(TASK) is not None


CLAIMER = """
import json, os, signal, sys
from pathlib import Path
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.storage import StudyStorage
experiment = Experiment.from_json(json.loads(Path(sys.argv[1]).read_text()))
StudyStorage(sys.argv[2], "study", experiment).claim(Task(0, 0, 0.25))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_claim_of_a_killed_process_is_given_up_at_once(storage, experiment, tmp_path):
    import json

    (tmp_path / "experiment.json").write_text(json.dumps(experiment.to_json()))
    command = [sys.executable, "-c", CLAIMER, str(tmp_path / "experiment.json"), sqlite_in(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(storage._trials(TrialState.RUNNING)) == 1, "it was killed with a claim"
    assert storage.running() == set()


def test_a_silent_worker_of_another_machine_is_waited_for_and_then_given_up(storage, monkeypatch):
    import convwright.scaling.storage as module

    monkeypatch.setattr(module, "_host", lambda: "elsewhere")
    claim = storage.claim(TASK)
    monkeypatch.undo()
    assert storage.running() == {TASK}
    with storage.storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")
    assert storage.running() == set()
    assert not claim.complete(Outcome(0.9))
    assert storage.results() == {}, "it comes too late: another worker may have the task by now"


def test_a_claim_without_any_heartbeat_is_given_up_in_the_end(storage, monkeypatch):
    """Its worker was killed between the claim and the first sign of life, on another machine."""
    import convwright.scaling.storage as module

    monkeypatch.setattr(module, "_host", lambda: "elsewhere")
    with monkeypatch.context() as killed:
        killed.setattr(storage.storage, "record_heartbeat", lambda _: None)
        storage.claim(TASK)
    monkeypatch.undo()
    assert storage.running() == {TASK}, "its time begins when it is seen"
    with storage.storage.engine.begin() as connection:
        aged = connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")
        assert aged.rowcount == 1
    assert storage.running() == set()


def test_a_worker_of_this_machine_that_was_asleep_keeps_its_claim(storage):
    claim = storage.claim(TASK)
    with storage.storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")
    assert storage.running() == {TASK}
    assert claim.complete(Outcome(0.9))
    assert storage.results()[TASK].accuracy == 0.9


def test_an_experiment_survives_json(experiment):
    assert Experiment.from_json(experiment.to_json()) == experiment


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": "photos", "fingerprint": "00"}, "the data is digits there and photos here"),
        ({"fingerprint": "00"}, "the images of digits are not those"),
        ({"recipe": "senet"}, "recipe is 'senet', and it was begun with 'fast'"),
        ({"fields": {"progressive": 0.5}}, r"fields.progressive is 0.5, and it was begun with 0.0"),
        ({"options": {"batch_size": 8}}, "options.batch_size is 8, and it was begun with None"),
    ],
)
def test_another_experiment_is_refused_with_the_difference(storage, experiment, tmp_path, change, told):
    with pytest.raises(StudyError, match=told):
        StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, **change))


def test_the_same_images_may_lie_elsewhere(storage, experiment, tmp_path):
    storage.claim(TASK).complete(Outcome(0.5))
    elsewhere = StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, data="/mnt/digits/"))
    assert elsewhere.results()[TASK].accuracy == 0.5


def test_another_base_or_schedule_is_refused(storage, experiment, tmp_path):
    import convwright as cw

    with pytest.raises(StudyError, match=r"the base network is .* there and resnet18 here"):
        StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, base=cw.network("resnet18")))
    with pytest.raises(StudyError, match=r"schedule.seeds is 5"):
        StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, schedule=replace(experiment.schedule, seeds=5)))


def test_studies_of_one_database_do_not_meet(storage, experiment, tmp_path):
    storage.claim(TASK).complete(Outcome(0.5))
    other = replace(experiment, recipe="senet")
    assert StudyStorage(sqlite_in(tmp_path), "another", other).results() == {}


def test_a_study_that_somebody_else_made_is_refused(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("convwright.scaling.storage.time.sleep", lambda _: None)
    optuna.create_study(study_name="study", storage=sqlite_in(tmp_path))
    with pytest.raises(StudyError, match="was not made by Convwright"):
        StudyStorage(sqlite_in(tmp_path), "study", experiment)


def test_a_study_whose_maker_was_killed_at_its_birth_goes_on(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("convwright.scaling.storage.time.sleep", lambda _: None)
    optuna.create_study(study_name="study", storage=sqlite_in(tmp_path), direction="maximize")
    storage = StudyStorage(sqlite_in(tmp_path), "study", experiment)
    storage.claim(TASK).complete(Outcome(0.5))
    with pytest.raises(StudyError, match="recipe is 'senet'"):
        StudyStorage(sqlite_in(tmp_path), "study", replace(experiment, recipe="senet"))


def test_workers_that_start_together_make_one_study(experiment, tmp_path):
    start, made, failed = threading.Barrier(4), [], []

    def begin():
        start.wait()
        try:
            made.append(StudyStorage(sqlite_in(tmp_path), "study", experiment).study)
        except ConvwrightError as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(made)) == 1


def test_a_database_that_does_not_answer_is_told_in_a_line_without_the_password(experiment):
    url = check_url("postgresql://me:secret@127.0.0.1:1/nothing")
    with pytest.raises(ConvwrightError, match="does not answer") as error:
        StudyStorage(url, "study", experiment)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in shown(url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "no database's URL"),
        ("oracle://x/y", "no driver for oracle"),
        ("postgresql://me:secret@host:port/studies", "no database's URL"),
        ("sqlite://", "would keep nothing"),
        ("sqlite:///:memory:", "would keep nothing"),
    ],
)
def test_wrong_urls_are_refused(url, told):
    with pytest.raises(UsageError, match=told) as error:
        check_url(url)
    assert "secret" not in str(error.value)


def test_a_folder_may_have_any_name(experiment, tmp_path):
    folder = tmp_path / "what? 100 % #1"
    folder.mkdir()
    StudyStorage(sqlite_in(folder), "study", experiment).claim(TASK).complete(Outcome(0.5))
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    assert len(StudyStorage(sqlite_in(folder), "study", experiment).results()) == 1


def test_a_damaged_database_is_told(experiment, tmp_path):
    (tmp_path / "study.db").write_bytes(os.urandom(4096))
    with pytest.raises(ConvwrightError, match="does not answer: file is not a database"):
        StudyStorage(sqlite_in(tmp_path), "study", experiment)
