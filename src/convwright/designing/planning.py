"""Candidates for a design's race: what they may cost, and whether the time suffices for any."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from convwright.arch import Network, at, fit_resolution
from convwright.arch.cost import cost
from convwright.arch.resolution import Resolution, format_resolution, resolution_of, sides
from convwright.designing.candidates import (
    Candidate,
    LeftOut,
    default_candidates,
    pretrained_candidates,
    scale_family,
)
from convwright.designing.context import DesignContext
from convwright.designing.families import FAMILIES, CandidateLimits, smallest
from convwright.designing.race import MAX_FIRST_ROUND, NO_ROOM, first_trial_seconds, minutes_for, room_of
from convwright.designing.request import DesignRequest
from convwright.designing.speed import BRIEF, SECONDS, seconds_per_image
from convwright.designing.state import CANDIDATES
from convwright.designing.time_plan import TimePlan
from convwright.display.wording import counted
from convwright.errors import ArgumentError
from convwright.scaling.budget import LATENCY, Budget, format_need, used
from convwright.scaling.latency import Stopwatch

MIN_EPOCHS = 8.0
"""Epochs that the winner should be able to train."""
SHORT_PIXELS, LONG_PIXELS, LONG_DESIGN = 64, 96, 3600.0
"""Largest side of images for training from scratch, in designs shorter and longer than these seconds."""
MEASURING_SHARE = 0.05
"""Share of a design's time after which no further family is measured."""
MEASUREMENTS = (BRIEF, SECONDS, SECONDS)
"""Seconds of measurements of the smallest network. The fastest counts, as other programs may slow some of them down;
once it is fast enough, no other follows."""


@dataclass
class Planner:
    """Chooses the candidates of a design."""

    context: DesignContext
    measured_seconds: float = field(default=0.0, init=False)
    """Seconds in which the speed of families has been measured."""

    @property
    def time(self) -> TimePlan:
        """How the time of the design is divided."""
        return TimePlan(self.context.clock.seconds)

    @cached_property
    def resolution(self) -> Resolution:
        """Resolution of networks that are trained from scratch: that of the data, up to a limit."""
        data = self.context.dataset
        if self.context.data.resolution is not None:
            return data.resolution
        longest = SHORT_PIXELS if self.context.request.seconds < LONG_DESIGN else LONG_PIXELS
        factor = min(1.0, longest / max(sides(data.resolution)))
        return resolution_of(*(max(1, round(side * factor)) for side in sides(data.resolution)))

    @cached_property
    def bases(self) -> list[Network]:
        """The base network of each family for the images."""
        data = self.context.dataset
        return [family.base(self.resolution, data.channels, len(data.classes)) for family in FAMILIES]

    @property
    def smallest(self) -> Network:
        """A network that is about the smallest that the data can be learnt with."""
        return smallest(self.bases[1])

    @property
    def room(self) -> int:
        """How many candidates are looked for: what the first round has time for, or all where workers share it."""
        return MAX_FIRST_ROUND if self.context.request.execution.shared else room_of(self.time.race)

    @property
    def time_note(self) -> str:
        """How many candidates the time is enough for, and how many minutes the usual number needs.

        Empty if the time is enough for all, and where the number of workers is unknown before the race: on a cluster,
        and with a database that workers of other machines may join.
        """
        execution, seconds = self.context.request.execution, self.context.request.seconds
        if execution.cluster is not None or execution.storage is not None:
            return ""
        room = room_of(self.time.race, execution.workers)
        if room >= MAX_FIRST_ROUND:
            return ""
        needed = minutes_for(MAX_FIRST_ROUND, execution.workers, math.ceil(seconds / 60))
        return (
            f"{seconds / 60:.3g} min are enough to compare {counted(room, 'candidate')} in the first round; a design "
            f"of about {needed} min would compare {MAX_FIRST_ROUND}"
        )

    @cached_property
    def limits(self) -> CandidateLimits:
        """What candidates may cost. Its speeds of training are those of the families that have been measured so far."""
        request = self.context.request
        measure = None
        if request.budget is not None and request.budget.latency is not None:
            measure = Stopwatch(engine=request.engine)
        image_seconds = self.time.winner / (MIN_EPOCHS * len(self.context.dataset.train))
        return CandidateLimits(request.budget, measure, self.context.state.speeds, image_seconds)

    def find_first(self) -> Candidate:
        """Return the candidate that is trained first, before others are measured, and record it.

        Raises:
            ArgumentError: The time is too short, or no network is within the budget.
        """
        self._check_time()
        first = self._next()
        if first is None:
            reason = self._too_small()
            self.context.state.left_out.clear()  # a second attempt measures all again
            self.context.state.save()
            raise ArgumentError("budget", reason)
        self.context.state.save()
        return first

    def find_candidates(self) -> None:
        """Scale each family to the budget and the time, and record which take part.

        Raises:
            ArgumentError: The time is too short, or no network is within the budget.
        """
        context, state = self.context, self.context.state
        if not state.candidates:
            self.find_first()
        context.report("measuring how fast this machine trains each family")
        while len(state.candidates) < self.room and self._next() is not None:
            pass
        scaled = {each.name for each in state.candidates} | {each.name for each in state.left_out}
        state.left_out += [LeftOut(family.title, NO_ROOM) for family in FAMILIES if family.title not in scaled]
        names = ", ".join(each.name for each in state.candidates)
        count = len(state.candidates)
        state.decide(
            CANDIDATES,
            f"{counted(count, 'network takes', 'networks take')} part ({names})",
            "; ".join(filter(None, [_reason(context.request), self.time_note])),
        )
        context.report(f"candidates: {names}")

    def _next(self) -> Candidate | None:
        """Return the next candidate; record it and what is left out before it. None if there is no other."""
        state = self.context.state
        known = {one.name for one in state.candidates} | {one.name for one in state.left_out}  # before a stop
        for each in self._offers:
            if each.name in known:
                continue
            if isinstance(each, Candidate):
                state.candidates.append(each)
                return each
            state.left_out.append(each)
        return None

    @cached_property
    def _offers(self) -> Iterator[Candidate | LeftOut]:
        """Candidates in the order in which they take part; each is measured when it is reached."""
        return self._make_offers()

    def _make_offers(self) -> Iterator[Candidate | LeftOut]:
        data, classes = self.context.data, len(self.context.dataset.classes)
        yield from pretrained_candidates(data, classes, first_trial_seconds(self.time.race), self.limits)
        yield from default_candidates(data, self._fitted, self.time.winner, self.limits)
        for family, base in zip(FAMILIES, self.bases, strict=True):
            self._measure_speed(base)
            yield scale_family(family, base, self.limits)

    def _measure_speed(self, base: Network) -> None:
        """Measure how fast this machine trains a family, unless that is known or measuring has taken its time."""
        state, clock = self.context.state, self.context.clock
        late = self.measured_seconds > MEASURING_SHARE * self.context.request.seconds
        if base.name in state.speeds or (state.speeds and late):
            return
        began = clock.passed
        state.speeds[base.name] = seconds_per_image(base) / cost(base).macs
        self.measured_seconds += clock.passed - began
        state.save()

    def _fitted(self, network: Network) -> Network:
        """Return a network for the images, at the resolution of networks that are trained from scratch."""
        data = self.context.dataset
        return at(fit_resolution(network, self.resolution), channels=data.channels, classes=len(data.classes))

    def _check_time(self) -> None:
        """Check that the smallest network can be trained for an epoch.

        Raises:
            ArgumentError: The time is too short.
        """
        images, seconds = len(self.context.dataset.train), self.context.request.seconds
        epoch = math.inf
        for limit in MEASUREMENTS:
            epoch = min(epoch, seconds_per_image(self.smallest, limit) * images)
            if epoch <= self.time.winner:
                return
        enough = math.ceil(1.2 * seconds * epoch / self.time.winner / 60)
        raise ArgumentError(
            "minutes",
            f"must be {enough} or more, not {seconds / 60:g}: the smallest network cannot be trained on all "
            f"{images:,} images once in less time",
        )

    def _too_small(self) -> str:
        """Return that the budget is too small for every family, and what the smallest network needs."""
        titled = [(family.title, smallest(base)) for family, base in zip(FAMILIES, self.bases, strict=True)]
        title, network = min(titled, key=lambda each: cost(each[1]).macs)
        budget, count = self.context.request.budget or Budget({}), cost(network)
        needs = {name: used(count, name) for name in budget.counted}
        if self.limits.measure is not None:
            needs[LATENCY] = self.limits.measure(network)
        amounts = " and ".join(format_need(name, amount) for name, amount in needs.items())
        size = format_resolution(network.resolution)
        return f"{budget} is too small for every family; the smallest network, {title} at {size} px, needs {amounts}"


def _reason(request: DesignRequest) -> str:
    budget = f"{request.budget} and " if request.budget else ""
    within = f"{budget}what {request.seconds / 60:.3g} min can train"
    return f"each network of a family is the largest within {within}; the others are those that `train` would choose"
