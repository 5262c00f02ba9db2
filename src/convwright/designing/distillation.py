"""Whether the winner of a race learns from a larger network of the race too: tried once, before its long training."""

from collections.abc import Callable
from dataclasses import replace

from convwright.arch.cost import cost
from convwright.data.opened import Data
from convwright.designing.candidates import Candidate, has_note, pretrained_candidates, with_note
from convwright.designing.families import CandidateLimits
from convwright.designing.state import State
from convwright.designing.trials import Trainer, Trial
from convwright.display.wording import points, points_between

LARGER_FACTOR = 1.2
"""Factor of the multiply-adds, or parameters, from which on a network counts as larger."""
CHECK_SHARE = 0.3
"""Share of the time that is left which the check may take."""
OVER_BUDGET_CHECK_SHARE = 0.15
"""The same share for both trials with a network that is over the budget, as published weights take time to prepare."""
LEARNS_FROM = "it learns from "
"""Beginning of the idea of a winner with a teacher."""
NO_GAIN = "does not improve the winner significantly"
TEACHES = " teaches the winner"
"""End of the decision that the winner learns from a teacher."""
DISTILLED = "distilled"
"""Note in the name of a winner with a teacher."""
NO_DISTILLATION = "no distillation"


def find_teacher(state: State, best: Trial) -> Trial | None:
    """Return the race's most accurate trial of a larger network that is not significantly worse than the winner's.

    Args:
        state: The design, whose race has ended.
        best: The winner's trial.
    """
    winner = cost(state.candidate(best.candidate).network)
    for trial in sorted(state.trials, key=lambda each: (-each.accuracy, each.candidate)):
        count = cost(state.candidate(trial.candidate).network)
        larger = count.macs >= LARGER_FACTOR * winner.macs or count.params >= LARGER_FACTOR * winner.params
        if not larger or trial.problem is not None or trial.candidate == best.candidate:
            continue
        if trial.round >= len(state.rounds) or best.against(trial).interval[0] > 0:
            continue
        return trial
    return None


def find_teacher_over_budget(state: State, data: Data, classes: int, seconds: float) -> Candidate | None:
    """Return the network with published weights that the budget kept out of the race, if there is one.

    Args:
        state: The design.
        data: The images.
        classes: Number of classes.
        seconds: Time of its training.
    """
    for each in pretrained_candidates(data, classes, seconds, CandidateLimits(None)):
        if isinstance(each, Candidate) and any(other.name == each.name for other in state.left_out):
            return replace(each, idea="published weights, over the budget: a teacher only", teacher_only=True)
    return None


def try_distillation(
    state: State,
    best: Trial,
    trainer: Trainer,
    left: float,
    report: Callable[[str], None],
    *,
    started: bool = False,
    offered: Callable[[], Candidate | None] = lambda: None,
) -> Trial:
    """Return the winner's trial, or that of the winner with a teacher where that is significantly better.

    The teacher is a larger network of the race, or one that is over the budget and significantly better. The winner is
    trained once more as in its last trial, with the same seed and in the same time, but with the teacher. The two are
    compared on the same validation images. Where workers shared the race, trials had a part of the cores each, so the
    winner is first trained again alone, as the student will be.

    Args:
        state: The design, whose race has ended.
        best: The winner's trial.
        trainer: Trains candidates.
        left: Seconds until the training of the winner must end.
        report: Called with a line of progress.
        started: Whether that training has started, so that nothing new is tried.
        offered: Returns a network that is over the budget and may teach; None where there is none.

    Raises:
        Interrupted: The design was stopped.
    """
    winner = state.candidate(best.candidate)
    if winner.fields.get("weights"):
        return best  # fine-tuned, for the most part with a frozen backbone
    teacher = find_teacher(state, best)
    if teacher is None:
        teacher = _try_teacher_over_budget(state, best, trainer, 0.0 if started else left, report, offered)
    if teacher is None:
        state.decide("training", NO_DISTILLATION, "no larger network of the race is as accurate as the winner")
        return best
    return _check_teacher(state, best, teacher, trainer, left, report, started=started)


def _check_teacher(
    state: State,
    best: Trial,
    teacher: Trial,
    trainer: Trainer,
    left: float,
    report: Callable[[str], None],
    *,
    started: bool,
) -> Trial:
    """Return the student's trial if it is significantly better, else the winner's; see `try_distillation`."""
    winner, round_ = state.candidate(best.candidate), len(state.rounds)  # a round of its own, after the race
    student = _make_student(state, winner, teacher, trainer)
    checked = [winner, student] if state.plans else [student]
    missing = [each for each in checked if state.trial(each.name, round_) is None]
    if missing and (started or len(missing) * best.seconds > CHECK_SHARE * left):
        reason = f"too little time to test whether distillation from {teacher.candidate} improves the winner"
        state.decide("training", NO_DISTILLATION, reason)
        return best
    if missing:
        report(f"testing for {best.seconds:.0f} s whether distillation from {teacher.candidate} improves the winner")
    if student in missing and winner in missing:
        report("retraining the winner without the teacher on all cores, for an equal comparison")
    trials = [_run_check(state, each, trainer, best.seconds) for each in checked]
    control = best if len(trials) == 1 else trials[0]
    return trials[-1] if _teacher_helps(state, control, teacher, trials[-1]) else best


def _run_check(state: State, candidate: Candidate, trainer: Trainer, seconds: float) -> Trial:
    """Return a candidate's trial after the race, and train it unless it has ended."""
    round_ = len(state.rounds)
    trial = state.trial(candidate.name, round_)
    if trial is None:
        trial = trainer.run(candidate, state.candidates.index(candidate), round_, seconds)
        state.add_trial(trial)
        trainer.clock.save()
    return trial


def _try_teacher_over_budget(
    state: State,
    best: Trial,
    trainer: Trainer,
    left: float,
    report: Callable[[str], None],
    offered: Callable[[], Candidate | None],
) -> Trial | None:
    """Return the trial of a network that is over the budget, if it is significantly better than the winner."""
    round_ = len(state.rounds)
    trial = next((each for each in state.trials_of(round_) if state.candidate(each.candidate).teacher_only), None)
    if trial is None:
        known = next((each for each in state.candidates if each.teacher_only), None)  # of a stopped design
        candidate = known or (offered() if 2 * best.seconds <= OVER_BUDGET_CHECK_SHARE * left else None)
        if candidate is None:
            return None
        if known is None:
            state.candidates.append(candidate)
            state.save()
        report(f"training {candidate.name}, which exceeds the budget, for {best.seconds:.0f} s as a teacher")
        trial = _run_check(state, candidate, trainer, best.seconds)
    better = trial.problem is None and trial.against(best).interval[0] > 0
    why = (
        "so it can be the teacher, but not the winner"
        if better
        else "and is not significantly better than the winner, so it is not the teacher"
    )
    state.decide("training", f"{trial.candidate} is dropped", f"it exceeds the budget, {why}")
    return trial if better else None


def _make_student(state: State, winner: Candidate, teacher: Trial, trainer: Trainer) -> Candidate:
    """Return the candidate that learns from a teacher, and add it to the design unless it is known."""
    name = with_note(winner.name, DISTILLED)
    source = {"teacher": str((trainer.folder / teacher.run).absolute())}
    for at, known in enumerate(state.candidates):
        if known.parent == winner.name and has_note(known.name, DISTILLED):
            # The folder of the design may have moved since.
            state.candidates[at] = replace(known, fields={**known.fields, **source})
            return state.candidates[at]
    fields = {**winner.fields, **source}
    idea = f"{LEARNS_FROM}{teacher.candidate}"
    student = replace(winner, name=name, idea=idea, fields=fields, parent=winner.name)
    state.candidates.append(student)
    return student


def _teacher_helps(state: State, control: Trial, teacher: Trial, trial: Trial) -> bool:
    """Return whether a teacher improves the winner significantly, and record why.

    Args:
        state: The design.
        control: Trial of the winner under the conditions of the student.
        teacher: The teacher's trial.
        trial: The student's trial.
    """
    if trial.problem is not None:
        state.decide("training", f"{trial.candidate} is dropped", f"it could not be trained: {trial.problem}")
        return False
    if control.problem is not None:
        reason = f"the winner could not be retrained for the comparison: {control.problem}"
        state.decide("training", f"{trial.candidate} is dropped", reason)
        return False
    pair = trial.against(control)
    comparison = (
        f"{points(pair.difference)} percentage points ({points_between(pair.interval)}) in equal time, on "
        f"{pair.images:,} validation images"
    )
    if pair.interval[0] > 0:
        state.decide("training", f"{teacher.candidate}{TEACHES}", comparison)
        return True
    reason = f"distillation from {teacher.candidate} {NO_GAIN}: {comparison}"
    state.decide("training", f"{trial.candidate} is dropped", reason)
    return False
