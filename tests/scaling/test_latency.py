"""Latency is really measured, once on a machine, and remembered."""

import pytest
import torch

import convwright as cw
from convwright.errors import UsageError
from convwright.files import cache_folder
from convwright.scaling.latency import Stopwatch


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_network_is_measured_once_and_remembered_across_processes():
    network = cw.network("cifar_resnet8")
    first = Stopwatch()
    seconds = first(network)
    assert 0 < seconds < 5
    assert first.measured == 1
    again = Stopwatch()
    assert again(network) == seconds
    assert again.measured == 0
    again(cw.network("cifar_resnet8|scale:w=2"))
    assert again.measured == 1, "another network is another measurement"
    Stopwatch(batch=4)(network)
    forgetful = Stopwatch(remember=False)
    forgetful(network)
    assert forgetful.measured == 1


def test_a_damaged_memory_is_measured_anew():
    network = cw.network("cifar_resnet8")
    Stopwatch()(network)
    (file,) = (cache_folder() / "latency").glob("*.json")
    file.write_text("{ damaged")
    stopwatch = Stopwatch()
    stopwatch(network)
    assert stopwatch.measured == 1


def test_threads_are_put_back_and_wrong_settings_refused():
    before = torch.get_num_threads()
    Stopwatch(threads=1, remember=False)(cw.network("cifar_resnet8"))
    assert torch.get_num_threads() == before
    with pytest.raises(UsageError, match="no engine 'abacus'; there are torch"):
        Stopwatch(engine="abacus")
    with pytest.raises(UsageError, match="1 or more"):
        Stopwatch(batch=0)
