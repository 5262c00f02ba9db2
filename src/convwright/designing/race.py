"""The race of a design: rounds of trials, each longer than the one before, among fewer candidates.

Successive halving over training time (Jamieson and Talwalkar 2016) with two changes: a candidate that is significantly
worse than the best one is dropped whatever its rank, and the rounds after the first bring variations of the leader.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import TYPE_CHECKING

from convwright.designing.candidates import Candidate, LeftOut, recipe_variations, variations
from convwright.designing.families import CandidateLimits
from convwright.designing.state import WINS, State
from convwright.designing.time_plan import TimePlan
from convwright.designing.trials import (
    MIN_TRIAL_SECONDS,
    NO_TIME,
    OUT_OF_TIME,
    TOO_LITTLE_SHARE,
    Trainer,
    Trial,
    problem_of_candidate,
)
from convwright.display.wording import percent, points, points_between
from convwright.errors import ConvwrightError
from convwright.stats.paired import agresti_min

if TYPE_CHECKING:
    from convwright.designing.sharing import SharedRounds  # needs SQLAlchemy

SHARES = (0.28, 0.33, 0.39)
"""Shares of the race's time for its rounds."""
SHORT_SHARES = (0.5, 0.5)
"""Shares of a short race, which has two rounds."""
SHORT_RACE_SECONDS = 240.0
"""Seconds of a race below which it has two rounds."""
SHORT_TRIAL_SECONDS = 12.0
"""Seconds of a trial below which fewer candidates take part."""
MAX_FIRST_ROUND, MAX_LATER_ROUNDS = 9, 6
"""Most candidates of the first round, and of each round after it."""
GROWTH = 1.5
"""Smallest factor by which a trial is longer than one of the round before."""
KEPT_SHARE = 0.5
"""Largest share of a round's candidates that goes on to the next."""
WORSE = "significantly worse"
NO_ROOM = "there is no time for another candidate"
ROUNDING = 1e-6
"""Tolerance of the number of trials that fit into a round."""


def shares_of(seconds: float) -> tuple[float, ...]:
    """Return the shares of a race's time by round."""
    return SHARES if seconds >= SHORT_RACE_SECONDS else SHORT_SHARES


def first_trial_seconds(seconds: float) -> float:
    """Return the seconds of each trial of the first round, with the largest number of candidates.

    Args:
        seconds: Time of the race.
    """
    share = shares_of(seconds)[0] * seconds
    room = first_round_room(share)
    return share / room if room > 1 else min(share, SHORT_TRIAL_SECONDS)


def first_round_room(seconds: float, slots: int = 1) -> int:
    """Return how many candidates the first round has time for.

    Args:
        seconds: Time of the round.
        slots: Number of trials that run at the same time.
    """
    return min(slots * max(1, int(seconds / SHORT_TRIAL_SECONDS + ROUNDING)), MAX_FIRST_ROUND)


def minutes_for(candidates: int, slots: int = 1, from_minutes: int = 1) -> int:
    """Return the minutes of the shortest design whose first round has time for a number of candidates.

    A longer design may have time for fewer: its race has three rounds instead of two.

    Args:
        candidates: Number of candidates; more than `MAX_FIRST_ROUND` count as that many.
        slots: Number of trials that run at the same time.
        from_minutes: Shortest design to consider.
    """
    wanted, minutes = min(candidates, MAX_FIRST_ROUND), from_minutes
    while room_of(TimePlan(60.0 * minutes).race, slots) < wanted:
        minutes += 1
    return minutes


def room_of(race_seconds: float, slots: int = 1) -> int:
    """Return how many candidates the first round of a race has time for.

    Args:
        race_seconds: Time of the race.
        slots: Number of trials that run at the same time.
    """
    return first_round_room(shares_of(race_seconds)[0] * race_seconds, slots)


@dataclass(frozen=True)
class Race:
    """The race among a design's candidates."""

    state: State
    trainer: Trainer
    limits: CandidateLimits
    seconds: float
    """Time of the race."""
    report: Callable[[str], None]
    """Called with a line for each trial and decision."""
    shared: "SharedRounds | None" = None
    """The workers that share the trials; None: this process trains one after the other."""

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the time by round."""
        return shares_of(self.seconds)

    def run(self) -> Trial:
        """Run all rounds, or those that remain, and return the winner's trial.

        Raises:
            ConvwrightError: No candidate could be trained.
            Interrupted: The design was stopped.
        """
        ends = [sum(self.shares[: at + 1]) * self.seconds for at in range(len(self.shares))]
        if self.state.race_began is None:
            self.state.race_began = self.trainer.clock.passed - self._trained_before
            self.state.save()
        began = self.state.race_began
        for round_ in range(len(self.shares)):
            if round_ < len(self.state.rounds) - 1:
                continue  # the next round is planned already, from what this one gave
            if len(self.state.rounds) <= round_:
                if round_ and began + ends[round_] - self.trainer.clock.passed < MIN_TRIAL_SECONDS:
                    break  # earlier rounds took the time of this one
                before = 0.0 if round_ else self._trained_before
                if not self._plan(round_, began + ends[round_] - self.trainer.clock.passed + before):
                    break
            self._run_round(round_, began + ends[round_])
        return self._best()

    def try_first(self, callbacks: Sequence[object] = ()) -> None:
        """Train the first candidate before the others are known, so that a design has a result early.

        Args:
            callbacks: Objects with methods of `Callback`.

        Raises:
            Interrupted: The design was stopped.
        """
        name, seconds = self.state.candidates[0].name, first_trial_seconds(self.seconds)
        if self.state.trial(name, 0) is not None:
            return
        self._settle_recipe(name, seconds)
        self.state.save()  # a stopped trial goes on with the same recipe
        candidate = self.state.candidate(name)
        trial = self.trainer.run(candidate, 0, 0, seconds, callbacks)
        self.state.add_trial(trial)
        self.report(f"round 1: {_result_of(candidate, trial)}")

    @property
    def _trained_before(self) -> float:
        """Seconds of the trial that was run before the others were planned."""
        return sum(each.seconds for each in self.state.trials if each.round == 0)

    def _plan(self, round_: int, seconds: float) -> bool:
        """Choose the candidates of a round for the time that it has.

        Returns:
            Whether there are several, or it is the first round. One alone is compared with nothing, and the time of its
            round is better spent on the winner.
        """
        most = self._most(round_, seconds)
        if round_ and most < 2:
            return False
        if round_ == 0:
            chosen = [each.name for each in self.state.candidates]
            kept = chosen[:most]
            for name in chosen[len(kept) :]:
                self.state.left_out.append(LeftOut(name, NO_ROOM))
        else:
            survivors = self._survivors()
            kept = [trial.candidate for trial in survivors][:most]
            for trial in survivors[len(kept) :]:
                self.state.decide("race", f"{trial.candidate} is dropped", "the next round has too little time for it")
            kept += [each.name for each in self._variations(round_, survivors[0], most - len(kept))]
            if len(kept) == 1:
                return False
        slots = self.shared.slots if self.shared else 1
        if len(kept) == 1:
            seconds = min(seconds, SHORT_TRIAL_SECONDS)
        for name in kept:
            self._settle_recipe(name, seconds / -(-len(kept) // slots))
        self.state.rounds.append(kept)
        self.state.save()
        return True

    def _settle_recipe(self, name: str, seconds: float) -> None:
        """Choose how a candidate with published weights is trained, once for all its trials and variations.

        The choice depends on a measurement of speed, which would not always give the same recipe.

        Args:
            name: Name of the candidate.
            seconds: Time of its first trial.
        """
        candidate = self.state.candidate(name)
        if candidate.fields.get("weights") is None:
            return
        try:
            settled = self.trainer.with_recipe(candidate, seconds)
        except Exception as error:
            if not problem_of_candidate(error):
                raise
            return  # its trial fails for the same reason, and records it
        self.state.candidates[self.state.candidates.index(candidate)] = settled

    def _most(self, round_: int, seconds: float) -> int:
        """Return how many candidates a round has time for: its trials are longer than those of the round before.

        Args:
            round_: The round.
            seconds: Time of the round.
        """
        slots = self.shared.slots if self.shared else 1
        if round_ == 0:
            return first_round_room(seconds, slots)
        before = median(each.seconds for each in self._last_ranked())
        shortest = max(SHORT_TRIAL_SECONDS, GROWTH * before)
        return min(slots * int(seconds / shortest + ROUNDING), MAX_LATER_ROUNDS)

    def _variations(self, round_: int, leader: Trial, room: int) -> Iterable[Candidate]:
        """Add variations of the leader to the candidates: of its network, in the last round of its training."""
        if room <= 0:
            return []
        candidate, added = self.state.candidate(leader.candidate), list[Candidate]()
        known = {each.name for each in self.state.candidates}
        offered: Iterable[Candidate | LeftOut]
        if round_ == len(self.shares) - 1:
            offered = recipe_variations(candidate, leader.learning_rate)
        else:
            offered = variations(candidate, self.limits)
        for each in offered:
            if len(added) == room:
                break
            if isinstance(each, LeftOut):
                self.state.left_out.append(each)
            elif each.name not in known:
                self.state.candidates.append(each)
                added.append(each)
        return added

    def _run_round(self, round_: int, until: float) -> None:
        names = self.state.rounds[round_]
        if self.shared:
            if any(self.state.trial(name, round_) is None for name in names):
                self._share_round(self.shared, round_, until)
            return
        numbers = {each.name: at for at, each in enumerate(self.state.candidates)}
        for at, name in enumerate(names):
            if self.state.trial(name, round_) is not None:
                continue
            started = self.trainer.started(numbers[name], round_)
            if (seconds := self._seconds_of_trial(round_, at, until, started=started)) is None:
                self._drop_for_time(name)
                continue
            trial = self.trainer.run(self.state.candidate(name), numbers[name], round_, seconds)
            self.state.add_trial(trial)
            self.trainer.clock.save()
            self.report(_line(round_, at, len(names), self.state.candidate(name), trial))

    def _seconds_of_trial(self, round_: int, at: int, until: float, *, started: bool) -> float | None:
        """Return the seconds of a trial; None where so little time is left that it could not learn.

        If earlier trials took longer than planned, the remaining time is divided among only as many trials as it is
        enough for.

        Args:
            round_: Round of the trial.
            at: Its position in the round.
            until: Passed seconds of the design at which the round should end.
            started: Whether it is continued after a stop of the design.
        """
        names, left = self.state.rounds[round_], until - self.trainer.clock.passed
        fewest = self._fewest_seconds(round_)
        ended = any(self.state.trial(name, round_) for name in names)
        if ended and not started and left < fewest:
            return None
        count = len(names) - at
        while count > 1 and left / count < fewest:
            count -= 1
        seconds = max(2.0, left / count)
        if round_ == 0:  # the first trial was run before the number of the others was known
            seconds = min(seconds, max(2.0, first_trial_seconds(self.seconds)))
        if len(names) == 1:  # it is compared with nothing: the time is better spent on its final training
            seconds = min(seconds, SHORT_TRIAL_SECONDS)
        return seconds

    def _fewest_seconds(self, round_: int) -> float:
        """Return the seconds below which a trial of a round has too little time to learn."""
        planned = first_trial_seconds(self.seconds)
        if round_ and (before := [each.seconds for each in self.state.trials_of(round_ - 1) if each.problem is None]):
            planned = max(SHORT_TRIAL_SECONDS, GROWTH * median(before))
        return max(MIN_TRIAL_SECONDS, TOO_LITTLE_SHARE * planned)

    def _share_round(self, shared: "SharedRounds", round_: int, until: float) -> None:
        """Have the trials of a round trained by workers."""

        def report(candidate: Candidate, trial: Trial, number: int, count: int) -> None:
            if trial.problem != NO_TIME:
                self.state.offer(trial)
                self.report(_line(round_, number - 1, count, candidate, trial))

        for trial in shared.run(round_, until, report):
            if trial.problem == NO_TIME:
                self._drop_for_time(trial.candidate)
            elif self.state.trial(trial.candidate, round_) is None:
                self.state.add_trial(trial)
        self.state.save()
        self.trainer.clock.save()

    def _drop_for_time(self, name: str) -> None:
        """Record that trials took longer than planned, so that a candidate of the round is not trained any more."""
        reason = NO_TIME
        if any(trial.candidate == name for trial in self.state.trials):
            self.state.decide("race", f"{name} is dropped", reason)
        elif all(each.name != name for each in self.state.left_out):
            self.state.left_out.append(LeftOut(name, reason))
            self.state.save()

    def _last_ranked(self) -> list[Trial]:
        """Return the trials of the last round in which a candidate could be trained, the best first.

        Raises:
            ConvwrightError: There is none.
        """
        for round_ in reversed(range(len(self.state.rounds))):
            if ranked := [each for each in self.state.trials_of(round_) if each.problem is None]:
                return ranked
        problems = "; ".join(f"{each.candidate}: {each.problem}" for each in self.state.trials)
        raise ConvwrightError(f"no candidate could be trained ({problems})")

    def _survivors(self) -> list[Trial]:
        """Return the trials whose candidates go on, the best first, and record why the others do not.

        The intervals hold for all comparisons with the best of the round together (Bonferroni).
        """
        ranked = self._last_ranked()
        best, kept = ranked[0], ranked[:1]
        z = NormalDist().inv_cdf(1 - 0.025 / max(1, len(ranked) - 1))
        for trial in ranked[1:]:
            pair = best.against(trial)
            low, high = agresti_min(pair.only_first, pair.only_second, pair.images, z)
            amount = f"{points(-pair.difference)} percentage points ({points_between((-high, -low))})"
            gap = f"difference to {best.candidate}: {amount}"
            lower_half = len(kept) >= max(1, round(KEPT_SHARE * len(ranked)))
            if low <= 0 and not lower_half:
                kept.append(trial)
                continue
            if too_short := trial.too_short:
                reason = f"{OUT_OF_TIME}: {too_short}; {gap}"
            elif low > 0:
                reason = f"{WORSE}: {gap}"
            else:
                reason = f"ranked in the lower half of the round, which is not trained further; {gap}"
            self.state.decide("race", f"{trial.candidate} is dropped", reason)
        return kept

    def _best(self) -> Trial:
        survivors = self._survivors()
        best = survivors[0]
        self.state.decide(
            "race",
            f"{best.candidate}{WINS}",
            f"the highest validation accuracy, {percent(best.accuracy)}, after {best.seconds:.0f} s of training"
            + (f"; {survivors[1].candidate} is statistically indistinguishable from it" if len(survivors) > 1 else ""),
        )
        return best


def _line(round_: int, at: int, count: int, candidate: Candidate, trial: Trial) -> str:
    return f"round {round_ + 1}, {at + 1} of {count}: {_result_of(candidate, trial)}"


def _result_of(candidate: Candidate, trial: Trial) -> str:
    result = (
        f"{percent(trial.accuracy)} of {trial.images:,} validation images correct"
        if trial.problem is None
        else trial.problem
    )
    return f"{candidate.name} ({candidate.size_in_words}): {result}"
