"""Latency is really measured, once on a machine, and remembered."""

import warnings

import pytest
import torch

import convwright as cw
from convwright.errors import ConvwrightError, ConvwrightWarning, UsageError
from convwright.files import cache_folder
from convwright.scaling.latency import Stopwatch
from convwright.timing import Timing


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


NETWORK = cw.network("cifar_resnet8")
SECONDS = 0.125
BUSY = Timing((0.4, 0.5, SECONDS), doubt="the median of a call is 400 ms, the minimum 125 ms")


@pytest.fixture
def measured(monkeypatch):
    """Measure nothing for real; list the networks that would be."""
    networks = []
    monkeypatch.setattr(Stopwatch, "_measure", lambda _, network: networks.append(network) or Timing((SECONDS,)))
    return networks


def test_a_network_is_measured_once_and_remembered_across_processes(measured):
    network = cw.network("cifar_resnet8")
    first = Stopwatch()
    assert first(network) == SECONDS
    assert first.measured == 1
    again = Stopwatch()
    assert again(network) == SECONDS
    assert again.measured == 0
    again(cw.network("cifar_resnet8|scale:w=2"))
    assert again.measured == 1, "another network is another measurement"
    Stopwatch(batch=4)(network)
    forgetful = Stopwatch(remember=False)
    forgetful(network)
    assert forgetful.measured == 1


def test_a_network_is_really_measured():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvwrightWarning)  # this machine may be busy
        assert 0 < Stopwatch(remember=False)(NETWORK) < 5


def test_a_value_of_a_busy_machine_is_a_warning_and_never_cached(monkeypatch):
    timings = [BUSY, BUSY, Timing((0.1,))]
    monkeypatch.setattr(Stopwatch, "_measure", lambda _, network: timings.pop(0))
    stopwatch = Stopwatch()
    with pytest.warns(ConvwrightWarning, match="machine was busy .the median of a call is 400 ms.*not cached") as shown:
        assert [stopwatch(NETWORK) for _ in range(2)] == [BUSY.minimum] * 2
    assert len(shown) == 1
    assert stopwatch.unreliable == {NETWORK.name: BUSY}
    assert Stopwatch()(NETWORK) == 0.1, "measured again"
    assert Stopwatch()(NETWORK) == 0.1, "and cached"
    assert not timings


def test_measuring_again_replaces_the_cached_value_but_not_by_an_unreliable_one(monkeypatch):
    timings = [Timing((0.1,)), Timing((0.2,)), BUSY]
    monkeypatch.setattr(Stopwatch, "_measure", lambda _, network: timings.pop(0))
    assert Stopwatch()(NETWORK) == 0.1
    assert Stopwatch(remeasure=True)(NETWORK) == 0.2
    with pytest.warns(ConvwrightWarning, match="is unreliable because the machine was busy"):
        assert Stopwatch(remeasure=True)(NETWORK) == BUSY.minimum
    assert Stopwatch()(NETWORK) == 0.2


@pytest.mark.parametrize(
    "content",
    [
        "{ damaged", "[]", '{"seconds": 1}', '{"key": "KEY", "seconds": -1}', '{"key": "KEY", "seconds": NaN}',
        '{"key": "KEY", "seconds": 1e999}', '{"key": "KEY", "seconds": "1"}', '{"key": "KEY", "seconds": true}',
        '{"key": "KEY", "seconds": 0}', '{"key": "other", "seconds": 1}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_latency_is_measured_anew(content, measured):
    stopwatch = Stopwatch()
    stopwatch(NETWORK)
    (file,) = (cache_folder() / "latency").rglob("*.json")
    file.write_text(content.replace("KEY", stopwatch._key(NETWORK)))
    again = Stopwatch()
    assert again(NETWORK) == SECONDS
    assert again.measured == 1
    assert Stopwatch()(NETWORK) == SECONDS
    assert len(measured) == 2, "the damaged file was replaced"


def test_processes_that_measure_at_once_keep_each_other_s_latencies(measured):
    one, other = Stopwatch(), Stopwatch(batch=2)
    one._measure = lambda network: Timing((other(network),))  # the other writes while the first still measures
    one(NETWORK)
    for settings in ({}, {"batch": 2}):
        again = Stopwatch(**settings)
        again(NETWORK)
        assert again.measured == 0


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, measured):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    stopwatch = Stopwatch()
    with pytest.warns(ConvwrightWarning, match="latencies are measured again next time: .*file") as warned:
        assert [stopwatch(network) for network in (NETWORK, cw.network("cifar_resnet20"))] == [SECONDS] * 2
    assert len(warned) == 1
    assert len(measured) == 2


def test_no_folder_for_caches_is_a_warning(monkeypatch, measured):
    def nowhere():
        raise ConvwrightError("/tmp/convwright-0: not a private folder of this user")

    monkeypatch.setattr("convwright.scaling.latency.cache_folder", nowhere)
    with pytest.warns(ConvwrightWarning, match="not a private folder"):
        assert Stopwatch()(NETWORK) == SECONDS


def test_threads_are_put_back_and_wrong_settings_refused():
    before = torch.get_num_threads()
    Stopwatch(threads=1, remember=False)(cw.network("cifar_resnet8"))
    assert torch.get_num_threads() == before
    with pytest.raises(UsageError, match="no engine 'abacus'; there are torch"):
        Stopwatch(engine="abacus")
    with pytest.raises(UsageError, match="1 or more"):
        Stopwatch(batch=0)
