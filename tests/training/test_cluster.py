"""Training on a Ray cluster of this machine: the same as on devices of its own, also where processes are killed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import convwright as cw
from convwright.errors import ArgumentError, ConvwrightError
from convwright.files import packed
from convwright.machine import available_cores
from convwright.training.cluster_process import ClusterProcess, heard_interrupts, interface_of
from convwright.training.launch import free_port
from convwright.training.process_output import ProcessOutput

from ..installed import skip_without

skip_without("ray")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc"),
    pytest.mark.skipif(len(available_cores()) < 2, reason="needs two processor cores"),
]
OPTIONS = {"network": "cifar_resnet8", "batch_size": 121, "sync_norm": False, "seed": 3, "fused": False, "devices": 2}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One cluster for all tests of this module, which connections to `local` then use."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else Ray's workers give way to all other tests
        for remaining in (2, 1, 0):
            try:
                options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
                ray.init("local", num_cpus=2, **options)  # not a cluster that others started
                break
            except Exception:  # Ray gives up after 30 seconds, which a busy machine can need
                ray.shutdown()
                if not remaining:
                    raise
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of two processes of this machine, without a cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        out = tmp_path_factory.mktemp("undisturbed") / "run"
        return cw.train("digits", **OPTIONS, epochs=3, out=out, progress=False)


def weights(run):
    return run.weights.read_bytes()


def processes_of(path):
    """Return the processes that train a run, by their ranks."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if f"--resume\0{path}\0" in entry.joinpath("cmdline").read_text():
                variables = entry.joinpath("environ").read_text().split("\0")
                ranks = [each.partition("=")[2] for each in variables if each.startswith("RANK=")]
                found |= {int(rank): int(entry.name) for rank in ranks}
        except OSError:
            continue
    return found


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def when_trained(path, act):
    """Call a function with the processes of a run, in a thread, once there is a checkpoint."""

    def wait():
        deadline = time.monotonic() + 300
        while not any((path / "checkpoints").glob("step-*.pt")) and time.monotonic() < deadline:
            time.sleep(0.02)
        act(processes_of(path))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_cluster_trains_what_devices_of_this_machine_do(undisturbed, tmp_path):
    check_run(
        cw.train("digits", **OPTIONS, epochs=3, cluster="local", out=tmp_path / "run", progress=False), undisturbed
    )


def check_run(run, undisturbed):
    """Check that a run of a cluster is that of two processes of this machine, and that none of its own is left."""
    assert weights(run) == weights(undisturbed)
    assert (run.path / "config.yaml").read_bytes() == (undisturbed.path / "config.yaml").read_bytes()
    assert run.summary.devices == 2
    assert not processes_of(run.path)
    assert cw.resume(run, cluster="local", progress=False).summary == run.summary


@pytest.mark.parametrize(
    ("rank", "of_ray"),
    [
        (1, False),
        pytest.param(0, False, marks=pytest.mark.slow),
        pytest.param(0, True, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
    ],
)
def test_a_run_whose_process_is_killed_ends_in_the_same_weights(rank, of_ray, undisturbed, tmp_path, capfd):
    path, killed = tmp_path / "run", []

    def kill(processes):
        victim = parent(processes[rank]) if of_ray else processes[rank]
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    thread = when_trained(path, kill)
    run = cw.train("digits", **OPTIONS, epochs=3, cluster="local", out=path)
    thread.join()
    assert killed
    printed = capfd.readouterr().err
    assert "all processes start again from step-" in printed
    assert "resume" not in printed  # the errors of processes that noticed the loss
    check_run(run, undisturbed)


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again_ends_the_run(tmp_path):
    path, ended = tmp_path / "run", threading.Event()

    def kill():
        while not ended.wait(0.1):
            for pid in processes_of(path).values():
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    with pytest.raises(ConvwrightError, match=r"killed by signal 9; 3 restarts have not come further; resume with"):
        cw.train("digits", **OPTIONS, epochs=3, cluster="local", out=path, progress=False)
    ended.set()
    thread.join()


@pytest.mark.slow
def test_a_failure_of_the_run_is_not_repeated(tmp_path, capfd):
    path = tmp_path / "run"
    with pytest.raises(ConvwrightError, match="the loss became"):
        cw.train("digits", **OPTIONS, epochs=3, cluster="local", out=path, learning_rate=1e30, optimizer="sgd")
    assert "start again" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_with_nothing_lost(number, undisturbed, tmp_path):
    path = tmp_path / "run"
    options = ["--network=cifar_resnet8", "--batch-size=121", "--no-sync-norm", "--seed=3", "--no-fused", "--devices=2"]
    command = [sys.executable, "-m", "convwright", "train"]
    process = subprocess.Popen(
        [*command, "--data=digits", *options, "--epochs=3", "--cluster=local", f"--out={path}"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    when_trained(path, lambda _: process.send_signal(number)).join()
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 128 + number, printed
    assert f"a checkpoint was saved; resume with convwright train --resume {path} --cluster local" in printed
    assert printed.count("convwright: ") == 1
    done = subprocess.run([*command, "--resume", path, "--cluster", "local"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert weights(cw.open_run(path)) == weights(undisturbed)


def trained_in_two_places(path, files):
    """Train a run in two processes, the first one in its directory, the second one on files; return their ends."""
    port, members = free_port(), [ClusterProcess(), ClusterProcess()]
    for rank, member in enumerate(members):
        environment = {"WORLD_SIZE": "2", "RANK": str(rank), "NODE_RANK": str(rank), "LOCAL_RANK": "0"}
        environment |= {"LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment |= {"OMP_NUM_THREADS": "1"}
        member.start(str(path), [], environment, str(path.parent), files if rank else None)
    printed, states, deadline = ["", ""], [], time.monotonic() + 300
    while not states or None in [each.status for each in states]:
        assert time.monotonic() < deadline, printed
        time.sleep(0.1)
        states = [member.state() for member in members]
        printed = [text + each.printed for text, each in zip(printed, states, strict=True)]
    for member in members:
        member.end()
    return [each.status for each in states], printed


def copied(run, path):
    """Return a copy of a run without its results."""
    shutil.copytree(run.path, path)
    for name in ("summary.json", "model.safetensors"):
        (path / name).unlink()
    return cw.open_run(path)


def test_a_node_without_the_run_directory_trains_a_copy(undisturbed, tmp_path):
    run = copied(undisturbed, tmp_path / "run")
    for each in (run.path / "metrics.csv", *(run.path / "checkpoints").iterdir()):
        each.unlink()
    statuses, printed = trained_in_two_places(run.path, packed(run.path))
    assert statuses == [0, 0], printed
    assert weights(run) == weights(undisturbed)


def test_processes_that_see_different_checkpoints_do_not_train(undisturbed, tmp_path):
    run = copied(undisturbed, tmp_path / "run")
    newest, older = sorted((run.path / "checkpoints").glob("*.pt"), reverse=True)[:2]
    files = {name: content for name, content in packed(run.path).items() if not name.endswith(newest.name)}
    statuses, printed = trained_in_two_places(run.path, files)
    assert all(statuses)
    steps = [int(path.stem.removeprefix("step-")) for path in (older, newest)]
    assert f"would continue from step {steps[0]} and another one from step {steps[1]}" in printed[0]


def test_processes_of_a_cluster_hear_interrupts():
    """Ray blocks SIGINT in its workers, and a process inherits the mask of the one that starts it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with heard_interrupts():
            code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert done.stdout == "False\n"


def test_what_a_node_lacks_is_found_out(tmp_path):
    facts = ClusterProcess().facts(str(tmp_path / "absent"), str(tmp_path))
    assert (facts.reads_run, facts.reads_data) == (False, True)
    assert ClusterProcess().facts(str(tmp_path), str(tmp_path / "absent")).reads_data is False
    unwritable = ClusterProcess().facts("/proc/self/status", None)
    assert (unwritable.reads_run, unwritable.writes_run) == (True, False)
    assert ClusterProcess().facts(str(tmp_path / "mark"), None).writes_run is False
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.77") is None


def test_the_last_errors_of_a_process_are_kept_until_its_end_is_understood(capsys):
    output = ProcessOutput(shown=True)
    output.add("epoch 1\nconvwright: a checkpoint is damaged\nepoch 2\nconvwright: something is lost\n")
    assert capsys.readouterr().err == "epoch 1\nconvwright: a checkpoint is damaged\nepoch 2\n"
    assert output.reason(1) == "something is lost"
    assert capsys.readouterr().err == ""
    output.add("convwright: 3 images cannot be read\n")
    assert output.reason(-9) == "killed by signal 9"
    assert capsys.readouterr().err == "convwright: 3 images cannot be read\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "192.0.2.7:6379"}, "cluster: this process is connected to the Ray cluster at"),
        ({"cluster": "nonsense"}, "cluster: must be `auto`, `local`, HOST:PORT or ray://HOST:PORT, not 'nonsense'"),
        ({"cluster": "local", "devices": 3}, "devices: the cluster has a processor core for 2 processes, not 3; give"),
        ({"cluster": "local", "cores_per_task": 2}, "devices: the cluster has a processor core for 1 process with 2 c"),
        ({"cluster": "local", "cores_per_task": 3}, "cores_per_task: must be at most 2"),
        ({"cores_per_task": 1}, "cores_per_task: needs `cluster`"),
        ({"cluster": "local", "minutes": 1}, "minutes: measures the speed of this machine"),
        ({"cluster": "local", "batch_size": "auto"}, "batch_size: auto measures this machine's memory"),
        ({"cluster": "local", "callbacks": [cw.callbacks.Callback()]}, "callbacks: are called in one process"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(options, message, tmp_path):
    with pytest.raises(ConvwrightError) as raised:
        cw.train("digits", **OPTIONS | options, out=tmp_path / "run", progress=False)
    assert message in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_needs_as_much_room(undisturbed, tmp_path):
    with pytest.raises(ArgumentError, match="cores_per_task: needs `cluster`"):
        cw.resume(undisturbed, cores_per_task=1)
