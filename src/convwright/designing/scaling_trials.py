"""Compound scaling against scaling one dimension, at equal multiply-adds: trials after the race of a long design."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from convwright.arch import Network, at
from convwright.arch.cost import cost
from convwright.designing.candidates import Candidate, with_note
from convwright.designing.families import CandidateLimits
from convwright.designing.state import State
from convwright.designing.trials import Trainer, Trial
from convwright.display.wording import percent
from convwright.errors import ArgumentError, NetworkError
from convwright.scaling.budget import Budget
from convwright.scaling.plan import scale_to_budget
from convwright.scaling.rules import Compound, Rule, Shares
from convwright.training.progressive import smallest

COMPOUND = "compound scaling"
ONE_DIMENSION = ("width alone", "depth alone")
"""Ideas of networks that are scaled in one dimension, in the order in which they are tried."""
RULES: dict[str, Rule] = {
    COMPOUND: Compound(),
    "width alone": Shares("width alone", 0.0, 1.0, 0.0),
    "depth alone": Shares("depth alone", 1.0, 0.0, 0.0),
}
START_SHARES = (0.5, 0.25)
"""Multiply-adds of the network that is scaled up, as shares of those of the race's best network, in order of trial."""
MAX_MACS_FACTOR = 1.15
"""Largest factor between the multiply-adds of two networks that count as equal."""
TIME_SHARE = 0.08
"""Share of the time that is left for the winner which these trials may take."""
MIN_SECONDS = 20.0
"""Seconds of each of these trials, at least; a design without time for two of them leaves them out."""
NOT_COMPARED = "compound scaling is not compared with scaling one dimension"
COMPARED = "trained for the scaling comparison"
"""Beginning of the reason why these networks do not win."""


@dataclass(frozen=True)
class ScalingTrials:
    """Trains a network that is scaled up by compound scaling, and the same one scaled in width or depth alone."""

    state: State
    trainer: Trainer
    limits: CandidateLimits
    report: Callable[[str], None]
    """Called with a line of progress."""

    def run(self, best: Trial, left: float, *, started: bool) -> None:
        """Train the networks, as far as that has not been done and the time suffices.

        Args:
            best: The winner's trial.
            left: Seconds until the training of the winner must end.
            started: Whether that training has started, so that nothing new is tried.
        """
        candidates = [each for each in self.state.candidates if each.idea in RULES]
        if not candidates and not started:
            candidates = self._choose(best, left)
        missing = [each for each in candidates if self._trial(each) is None]
        if started or not missing:
            return
        done = [trial for each in candidates if (trial := self._trial(each)) is not None]
        seconds = done[0].seconds if done else TIME_SHARE * left / len(missing)
        for candidate in missing:
            self._train(candidate, best, seconds)

    def _choose(self, best: Trial, left: float) -> list[Candidate]:
        """Return the networks to train, or none, and record them or why there are none."""
        if any(each.decision == NOT_COMPARED for each in self.state.decisions):
            return []  # a resumed design has less time
        count = min(len(RULES), int(TIME_SHARE * left / MIN_SECONDS))
        bases = self._bases(best) if count > 1 else []
        for base in bases:
            if candidates := scaled_candidates(base, self.limits)[:count]:
                self.state.candidates += candidates
                self.state.save()
                return candidates
        if count < 2:
            reason = (
                f"too little time: the comparison may use {100 * TIME_SHARE:.0f} % of the remaining "
                f"{max(0.0, left):.0f} s, and needs 2 x {MIN_SECONDS:.0f} s"
            )
        elif not bases:
            reason = "no network that was trained from scratch is as accurate as the winner"
        else:
            reason = (
                "no network of the race can be scaled to equal MACs both by compound scaling and in one dimension "
                "within the budget"
            )
        self.state.decide("ideas", NOT_COMPARED, reason)
        return []

    def _train(self, candidate: Candidate, best: Trial, seconds: float) -> None:
        """Train a network, and record why it does not win."""
        self.report(f"training {candidate.name} for {seconds:.0f} s, for the scaling comparison")
        number, round_ = self.state.candidates.index(candidate), len(self.state.rounds)
        trial = self.trainer.run(candidate, number, round_, seconds)
        self.state.add_trial(trial)
        self.trainer.clock.save()
        if trial.problem is None and trial.accuracy < best.accuracy:
            reason = f"{COMPARED}; its validation accuracy after {trial.seconds:.0f} s is {percent(trial.accuracy)}"
            self.state.decide("ideas", f"{candidate.name} is dropped", reason)

    def _trial(self, candidate: Candidate) -> Trial | None:
        """Return the trial of a network, which has the number of the round after the race."""
        return self.state.trial(candidate.name, len(self.state.rounds))

    def _bases(self, best: Trial) -> list[Candidate]:
        """Return the best candidate of each family that was trained from scratch and is not statistically behind."""
        trials = [each for each in self.state.trials if each.problem is None and each.round < len(self.state.rounds)]
        found: dict[str, Candidate] = {}
        for trial in [best, *sorted(trials, key=lambda each: (-each.round, -each.accuracy))]:
            candidate = self.state.candidate(trial.candidate)
            if best.against(trial).interval[0] > 0:
                continue
            if not candidate.fields.get("weights") and not candidate.teacher_only:
                found.setdefault(candidate.family, candidate)
        return list(found.values())


def scaled_candidates(base: Candidate, limits: CandidateLimits) -> list[Candidate]:
    """Return a network scaled up by compound scaling, and others scaled in one dimension to as many multiply-adds.

    All start from the network that compound scaling makes of `base` with a half or a quarter of the multiply-adds. They
    have those of `base`, or fewer where a limit on something else keeps one dimension from growing that far.

    Args:
        base: A candidate that keeps the limits.
        limits: What a candidate may cost.

    Returns:
        Compound scaling first, then one or two others; no candidates where there is no pair.
    """
    for share in START_SHARES:
        if networks := _scaled_from(base.network, share, limits):
            return [_candidate(base, idea, network) for idea, network in networks.items()]
    return []


def _scaled_from(base: Network, share: float, limits: CandidateLimits) -> dict[str, Network]:
    """Return networks by idea that are scaled up from a share of the multiply-adds of `base`; none without a pair."""
    macs = cost(base).macs
    try:
        start = scale_to_budget(base, Budget({"macs": share * macs}), Compound()).network
    except (ArgumentError, NetworkError):
        return {}
    largest = [_scale(start, rule, macs, limits) for rule in RULES.values()]
    for target in sorted({cost(each).macs for each in largest if each is not None}, reverse=True):
        compound = _scale(start, RULES[COMPOUND], target, limits)
        if compound is None or compound.resolution == start.resolution:  # rounding keeps it from growing in each
            continue
        networks = {COMPOUND: compound}
        for idea in ONE_DIMENSION:
            network = _scale(start, RULES[idea], target, limits)
            if network is not None and network not in networks.values() and _as_large(network, compound):
                networks[idea] = network
        if len(networks) > 1:
            return networks
    return {}


def _candidate(base: Candidate, idea: str, network: Network) -> Candidate:
    fields = {name: value for name, value in base.fields.items() if name != "teacher"}
    name = with_note(base.family, idea)
    return replace(base, name=name, idea=idea, network=network, fields=fields, parent=None)


def _as_large(one: Network, other: Network) -> bool:
    """Return whether two networks have about as many multiply-adds."""
    return 1 / MAX_MACS_FACTOR <= cost(one).macs / cost(other).macs <= MAX_MACS_FACTOR


def _scale(start: Network, rule: Rule, macs: float, limits: CandidateLimits) -> Network | None:
    """Return the largest network of a rule within multiply-adds and limits; None if none is larger than the start."""
    counted = dict(limits.budget.counted) if limits.budget else {}
    try:
        network = scale_to_budget(start, Budget(counted | {"macs": min(macs, counted.get("macs", macs))}), rule).network
    except (ArgumentError, NetworkError):
        return None
    return None if network == start or not _can_grow(network) or limits.exceeded_by(network) else network


def _can_grow(network: Network) -> bool:
    """Return whether a network can be trained on images that grow from a lower resolution, as those of a trial do."""
    try:
        cost(at(network, resolution=smallest(network.resolution)))
    except NetworkError:
        return False
    return True
