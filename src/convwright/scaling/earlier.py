"""Studies of earlier versions, which Optuna stored, read from their tables."""

import json
from dataclasses import dataclass

from sqlalchemy import Connection, column, inspect, select, table

from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome

STUDIES = table("studies", column("study_id"), column("study_name"))
STUDY_ATTRIBUTES = table("study_user_attributes", column("study_id"), column("key"), column("value_json"))
TRIALS = table("trials", column("trial_id"), column("study_id"), column("state"))
TRIAL_ATTRIBUTES = table("trial_user_attributes", column("trial_id"), column("key"), column("value_json"))
COMPLETE = "COMPLETE"


@dataclass(frozen=True)
class EarlierStudy:
    """A study that an earlier version stored."""

    experiment: str
    """The experiment as JSON text."""
    results: dict[Task, Outcome]


def read_earlier_study(connection: Connection, name: str) -> EarlierStudy | None:
    """Return a study that an earlier version of Convwright stored in a database.

    Args:
        connection: Connection to the database.
        name: Name of the study.

    Returns:
        The study; None if the database has none of this name.
    """
    if not {each.name for each in (STUDIES, STUDY_ATTRIBUTES, TRIALS, TRIAL_ATTRIBUTES)} <= {
        *inspect(connection).get_table_names()
    }:
        return None
    study = connection.scalar(select(STUDIES.c.study_id).where(STUDIES.c.study_name == name))
    wanted = (STUDY_ATTRIBUTES.c.study_id == study) & (STUDY_ATTRIBUTES.c.key == "experiment")
    experiment = connection.scalar(select(STUDY_ATTRIBUTES.c.value_json).where(wanted))
    if not isinstance(experiment, str):
        return None
    attributes: dict[int, dict[str, str]] = {}
    rows = select(TRIALS.c.trial_id, TRIALS.c.state, TRIAL_ATTRIBUTES.c.key, TRIAL_ATTRIBUTES.c.value_json)
    rows = rows.join_from(TRIALS, TRIAL_ATTRIBUTES, TRIALS.c.trial_id == TRIAL_ATTRIBUTES.c.trial_id)
    for trial, state, key, value in connection.execute(rows.where(TRIALS.c.study_id == study)):
        if state == COMPLETE:
            attributes.setdefault(trial, {})[key] = value
    results: dict[Task, Outcome] = {}
    for _, found in sorted(attributes.items()):
        if {"task", "outcome"} <= found.keys():
            candidate, seed, epochs = json.loads(found["task"])
            outcome = Outcome.from_dict(json.loads(found["outcome"]))
            results.setdefault(Task(int(candidate), int(seed), float(epochs)), outcome)
    return EarlierStudy(experiment, results)
