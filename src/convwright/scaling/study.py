"""Studies that run in this process, in worker processes or on a cluster."""

import signal
import time
from collections.abc import Mapping
from pathlib import Path

from convwright import json_text
from convwright.display.progress import print_progress
from convwright.errors import ConvwrightError
from convwright.files import write_text
from convwright.scaling.cluster import Cluster
from convwright.scaling.database import check_url, sqlite_in
from convwright.scaling.experiment import Experiment
from convwright.scaling.findings import Findings
from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome
from convwright.scaling.preparation import StudyOptions
from convwright.scaling.progress import StudyProgress
from convwright.scaling.ranking import all_diverged
from convwright.scaling.storage import StudyStorage
from convwright.scaling.task_runner import TaskRunner, data_opener
from convwright.scaling.worker import RESUMED, work, worker_processes, write_description
from convwright.training.interrupt import Interrupted

POLL = 1.0
"""Seconds between checks of what workers have done."""


def run_study(experiment: Experiment, options: StudyOptions) -> dict[Task, Outcome]:
    """Run a study from its current state to its end. Whatever is interrupted or killed, an equal call resumes it.

    Args:
        experiment: What to train.
        options: Where and how.

    Returns:
        The result of every task.

    Raises:
        ArgumentError: Options have wrong values.
        StudyError: The database has another study of this name.
        ConvwrightError: The folder cannot be made, the database does not answer, or a worker failed.
        Interrupted: The study was stopped.
    """
    options.check()
    options.check_types(experiment)
    storage = _open_storage(experiment, options)
    if found := storage.results():
        print_progress(f"{len(found)} training runs were finished before; resuming with the rest")
    try:
        with StudyProgress(storage) as progress:
            if options.cluster is not None:
                _run_on_cluster(storage, options, progress)
            elif options.workers == 1:
                _run_here(storage, options, progress)
            else:
                _run_in_processes(storage, options, progress)
            progress.update()
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "number", signal.SIGINT)
        raise Interrupted(f"stopped; finished training runs are kept, and {RESUMED}", number) from None
    return storage.results()


def write_findings(experiment: Experiment, results: Mapping[Task, Outcome], path: Path) -> Findings:
    """Write what a study found as JSON, and return it.

    Raises:
        ConvwrightError: Every training diverged, so that no network is best.
    """
    findings = Findings.of(experiment, results)
    write_text(path, json_text.dump(findings.to_dict(), indent=1) + "\n")
    if all_diverged(results):
        raise ConvwrightError(f"{path}: every training diverged, so no network is best; try a lower learning rate")
    return findings


def _open_storage(experiment: Experiment, options: StudyOptions) -> StudyStorage:
    name = options.study or options.out.resolve().name
    storage = None
    if options.storage:  # before the folder is made, so that nothing is left behind where no database answers
        storage = StudyStorage(check_url(options.storage), name, experiment)
    try:
        (options.out / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvwrightError(f"{options.out}: the study's folder could not be made: {error.strerror}") from None
    if storage is None:
        storage = StudyStorage(sqlite_in(options.out), name, experiment)
    write_description(options.out, storage, options.keep_runs, options.cache_gb)
    return storage


def _run_here(storage: StudyStorage, options: StudyOptions, progress: StudyProgress) -> None:
    experiment, folder = storage.experiment, options.out / "trials"
    open_data = data_opener(experiment, options.cache_gb)
    runner = TaskRunner(experiment, folder, open_data, options.keep_runs, callback=progress.callback())
    work(storage, runner, lambda task: progress.update())


def _run_in_processes(storage: StudyStorage, options: StudyOptions, progress: StudyProgress) -> None:
    with worker_processes(options.out, options.workers) as workers:
        while workers.check():
            progress.update()
            time.sleep(POLL)


def _run_on_cluster(storage: StudyStorage, options: StudyOptions, progress: StudyProgress) -> None:
    with Cluster(options.cluster or "auto", options.cores_per_task) as cluster:
        keep = options.out / "trials" if options.keep_runs else None
        cluster.work(storage, data_opener(storage.experiment, options.cache_gb), lambda task: progress.update(), keep)
