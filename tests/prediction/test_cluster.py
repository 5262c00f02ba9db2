"""Predictions on a Ray cluster of this machine: the same as without it, also where its processes are killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.errors import ArgumentError, ConvwrightError, UsageError
from convwright.prediction.cluster import ClusterOptions, ClusterPredictions, _Answer, _check_accessible
from convwright.prediction.image_files import find_images
from convwright.prediction.network import load
from convwright.prediction.stream import open_stream
from convwright.ray_connection import _check_reachable

from ..installed import skip_without
from ..subjects import trained_run

skip_without("ray")
skip_without("pyarrow")
skip_without("onnxruntime")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty images of several sizes, one damaged and one empty."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(40):
        size = (8 + number % 5, 9 + number % 3)
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{number:02}.png")
    (folder / "13.png").write_bytes(b"no image")
    (folder / "21.png").write_bytes((folder / "20.png").read_bytes()[:60])
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "digits.onnx"
    cw.open_run(trained_run()).export(path, images=60)
    return path


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One cluster for all tests of this module, which connections to `local` then use."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else Ray's workers give way to all other tests
        options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init("local", num_cpus=2, **options)  # not a cluster that others started
        yield
        ray.shutdown()


def outcomes(found):
    """Return everything that a result has for each file, and what could not be read."""
    return [one.to_dict() for one in found], found.unreadable


def test_an_exported_file_predicts_as_without_a_cluster(exported, folder):
    options = {"top": 4, "batch_size": 3}
    with pytest.warns(UserWarning, match="2 of 40 images could not be read"):
        alone = cw.predict(exported, folder, **options)
    with pytest.warns(UserWarning, match="2 of 40 images could not be read"):
        shared = cw.predict(exported, folder, cluster="local", **options)
    assert outcomes(shared) == outcomes(alone)
    assert len(shared) == 38
    assert [picture.tolist() for picture in shared._pictures] == [picture.tolist() for picture in alone._pictures]


def test_a_run_predicts_sets_of_images_in_memory_and_in_files(folder):
    images = [folder / "05.png", Image.open(folder / "07.png"), np.zeros((9, 9, 3), np.uint8), str(folder / "03.png")]
    alone, shared = (
        cw.predict(trained_run(), images, coverage=0.9, batch_size=2, **how) for how in ({}, {"cluster": "local"})
    )
    assert [one.file for one in shared] == [one.file for one in alone]
    for one, other in zip(shared, alone, strict=True):
        assert (one.classes, one.known) == (other.classes, other.known)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def processes(title):
    """Return the processes of this session's Ray whose title begins with a text, by the chain of their parents."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.joinpath("cmdline").read_text().startswith(title) and os.getpid() in parents(int(entry.name)):
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
    return found


def parents(pid):
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid


@pytest.mark.parametrize("title", ["ray::MapWorker", pytest.param("ray::_Pipeline", marks=pytest.mark.slow)])
def test_all_files_are_answered_once_in_order_though_a_process_is_killed(exported, folder, title):
    paths = [path for path in sorted(folder.iterdir()) if path.stem not in ("13", "21")] * 3
    expected = [one.to_dict() for one in cw.predict(exported, paths, batch_size=1)]
    stream = open_stream(exported, paths, batch_size=1, cluster="local")
    found = []
    with closing(stream.batches()) as batches:
        for number, batch in enumerate(batches):
            found += [one.to_dict() for one in batch.outcomes]
            if number == 2:
                victims = processes(title)
                assert victims, "the process that is to be killed is not there"
                os.kill(victims[0], signal.SIGKILL)
    assert found == expected


def test_a_prediction_that_is_stopped_leaves_no_process(exported, folder):
    with closing(open_stream(exported, folder, batch_size=1, cluster="local").batches()) as batches:
        next(batches)
        assert processes("ray::_Pipeline")
    end = time.monotonic() + 60
    while processes("ray::_Pipeline") or processes("ray::MapWorker"):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_network_that_fails_is_an_error_of_its_own_text(folder):
    network = load(trained_run())  # in torch, also where another test has exported the run
    for parameter in network.module.parameters():
        parameter.data.fill_(float("nan"))
    images = find_images(folder / "01.png").images
    predictions = ClusterPredictions(network, 3, None, ClusterOptions("local"))
    with pytest.raises(ConvwrightError) as alone:
        network.predict(folder / "01.png")
    with pytest.raises(ConvwrightError) as shared:
        list(predictions.batches(images, 1))
    assert str(shared.value) == str(alone.value)


def test_files_that_only_this_machine_can_read_are_an_error(folder):
    there, absent = str(folder / "01.png"), str(folder / "absent.png")
    _check_accessible(_Answer(inaccessible={absent: "No such file or directory"}, node="n2"))
    with pytest.raises(ConvwrightError, match=r"01\.png: this machine can read it, and n2 of the cluster cannot"):
        _check_accessible(_Answer(inaccessible={there: "No such file or directory"}, node="n2"))


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("nonsense", "cluster: must be `auto`, `local`, HOST:PORT or ray://HOST:PORT, not 'nonsense'"),
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1: Connection refused"),
        ("ray://127.0.0.1:1", "no Ray cluster answers at ray://127.0.0.1:1: Connection refused"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(address, text):
    with pytest.raises(ConvwrightError) as raised:
        _check_reachable(address)
    assert str(raised.value) == text


def test_wrong_use_is_reported_before_anything_is_computed(exported, folder):
    with pytest.raises(ArgumentError, match="cores_per_task: needs `cluster`"):
        cw.predict(exported, folder, cores_per_task=2)
    with pytest.raises(ArgumentError, match="cores_per_task: must be at most 2"):
        cw.predict(exported, folder, cluster="local", cores_per_task=3)
    with pytest.raises(UsageError, match="device: must be cpu or auto with a cluster"):
        cw.predict(exported, folder, cluster="local", device="cuda")


def test_a_local_cluster_is_never_another_one():
    code = "from convwright.ray_connection import RayConnection; print(RayConnection('local').size)"
    elsewhere = os.environ | {"RAY_ADDRESS": "127.0.0.1:1"}  # where nothing answers
    done = subprocess.run([sys.executable, "-c", code], env=elsewhere, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1
