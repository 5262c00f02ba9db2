"""Measurements of time on a machine that does other things too, with a clock that the tests move."""

from dataclasses import dataclass, field

import pytest

from convwright.timing import AGREEMENT, MOST_ROUNDS, ROUNDS, Clock, Timing, measure_call


@dataclass
class Machine:
    """A call that takes `work` seconds of the processor, and longer in the calls that something disturbs."""

    work: float = 0.006
    extra: object = field(default=lambda call: 0.0)
    """Seconds that call `call` takes beside its work."""
    computes: bool = False
    """Whether the extra time is spent computing."""
    waits: float = 0.0
    """Seconds of each call during which another thread waits for a core."""
    now: float = 0.0
    processor: float = 0.0
    waited: float = 0.0
    calls: int = 0

    def __call__(self):
        extra = self.extra(self.calls)
        self.calls += 1
        self.now += self.work + extra
        self.processor += self.work + extra * self.computes
        self.waited += self.waits

    def measure(self):
        clock = Clock(lambda: self.now, lambda: self.processor, lambda: self.waited)
        return measure_call(self, warm_up=0, at_least=10, at_most=10, clock=clock)


def test_an_idle_machine_gives_a_reliable_median():
    machine = Machine()
    timing = machine.measure()
    assert timing.reliable
    assert not timing.doubt
    assert timing.estimate == timing.median == pytest.approx(0.006)
    assert timing.minimum == pytest.approx(0.006)
    assert timing.spread == pytest.approx(0, abs=1e-6)
    assert machine.calls == 10 * ROUNDS


def test_a_burst_of_other_work_is_measured_again_and_left_out():
    machine = Machine(extra=lambda call: 0.9 if call < 20 else 0.0)
    timing = machine.measure()
    assert timing.reliable
    assert timing.median == pytest.approx(0.006)
    assert machine.calls == 10 * (ROUNDS + 2)


def test_a_few_slow_calls_do_not_matter():
    timing = Machine(extra=lambda call: 0.012 * (call % 10 == 0), computes=True).measure()
    assert timing.reliable
    assert timing.median == pytest.approx(0.006)


@pytest.mark.parametrize(
    ("machine", "doubt"),
    [
        (Machine(extra=lambda call: 0.9), "the processor computed for only 1% of the time"),
        (Machine(extra=lambda call: 0.9 if call else 0.0, computes=True), "median of a call is 906 ms, the minimum 6"),
        (Machine(extra=lambda call: 0.003), "processor computed for only 67% of the time"),
        (Machine(waits=0.006), "threads waited for a core for 100% of the time"),
    ],
)
def test_a_busy_machine_gives_an_unreliable_value(machine, doubt):
    timing = machine.measure()
    assert not timing.reliable
    assert doubt in timing.doubt
    assert timing.estimate == timing.minimum
    assert machine.calls == 10 * MOST_ROUNDS, "it was repeated before it was given up"


def test_several_threads_compute_longer_than_the_call_takes():
    machine = Machine()
    clock = Clock(lambda: machine.now, lambda: 4 * machine.processor, lambda: 0.0)
    assert measure_call(machine, clock=clock).reliable


def test_the_stated_factor_decides():
    for extra, reliable in ((AGREEMENT - 1.02, True), (AGREEMENT - 0.98, False)):
        timing = Machine(extra=lambda call, extra=extra: 0.006 * extra * (call > 0), computes=True).measure()
        assert timing.reliable is reliable


def test_a_real_call_is_measured():
    timing = measure_call(lambda: sum(range(20_000)), seconds=0.01)
    assert 0 < timing.minimum <= timing.median
    assert isinstance(timing, Timing)
