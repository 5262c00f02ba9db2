"""Fused and memory-efficient operators in runs: who gets them, and that runs with them are resumed to the same bits."""

import re
import time
from contextlib import nullcontext

import pytest
import torch
import yaml

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import RunError, UsageError
from convwright.files import cache_folder
from convwright.modules.fused import library as compiling
from convwright.training import precision_choice
from convwright.training.interrupt import Interrupted
from convwright.training.loop import resume, train
from convwright.training.memory_fit import OVERHEAD, USABLE, kept_bytes, memory_shortage, step_bytes
from convwright.training.operator_choice import key_of, measured_speedup, remember, remembered
from convwright.training.operators import OWN, check_operators
from convwright.training.plan import plan
from convwright.training.precision_choice import MIN_SPEEDUP, choose_precision, speedup_key
from convwright.training.preparation import make_learner
from convwright.training.run import Run

from .test_loop import NOISY, StopAfter, assert_same, last_state

needs_compiler = pytest.mark.skipif(bool(compiling.unavailable_reason()), reason="needs a C++ compiler")


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setenv(compiling.DISABLE, "1")
    compiling.library.cache_clear()
    yield
    compiling.library.cache_clear()


def planned(digits, **options):
    return plan(digits, cw.network("cifar_resnet8"), **options)[0]


@needs_compiler
@pytest.mark.skipif(torch.cuda.is_available(), reason="they are for CPUs")
def test_what_saves_memory_is_fused_where_it_can_be(digits):
    assert not planned(digits).fused
    assert planned(digits, memory_efficient=True).fused
    assert not planned(digits, memory_efficient=True, fused=False).fused
    assert not planned(digits, memory_efficient=True, devices=2).fused


def test_operators_that_know_one_device_are_refused_for_more(digits):
    with pytest.raises(UsageError, match=r"^fused operators are for one device; with `devices`, use `fused=False`$"):
        check_operators(planned(digits, devices=2, fused=True))
    with pytest.raises(UsageError, match=r"^memory-efficient operators are for one device; .* omit"):
        check_operators(planned(digits, devices=2, memory_efficient=True))


def test_without_a_compiler_runs_are_plain_and_fused_ones_are_refused(digits, no_compiler):
    assert not planned(digits, memory_efficient=True).fused
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match=f"need a C.. compiler .*{compiling.DISABLE} is set.*fused=False"):
            check_operators(planned(digits, fused=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="they are for CPUs")
@pytest.mark.parametrize(
    ("compiler", "told"),
    [("false", "false could not compile kernels.cpp"), ("/absent/g++ -O3", "CXX=/absent/g++ -O3: no such program")],
)
def test_a_compiler_that_fails_is_as_good_as_none(compiler, told, digits, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiling.library.cache_clear()
    try:
        assert compiling.library(torch.float32) is None
        assert not list(tmp_path.rglob("*.so"))
        with pytest.raises(UsageError, match=re.escape(f"such as g++ here ({told})")):
            check_operators(planned(digits, fused=True))
    finally:
        compiling.library.cache_clear()


@needs_compiler
@pytest.mark.skipif(torch.cuda.is_available(), reason="they are for CPUs")
def test_a_cache_that_cannot_be_written_is_not_taken_for_a_missing_compiler(digits, monkeypatch, tmp_path):
    (tmp_path / "convwright").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiling.library.cache_clear()
    try:
        with pytest.raises(UsageError, match=rf"\({tmp_path}/convwright/compiled: Not a directory\)"):
            check_operators(planned(digits, fused=True))
    finally:
        compiling.library.cache_clear()


@needs_compiler
@pytest.mark.skipif(torch.cuda.is_available(), reason="they are for CPUs")
@pytest.mark.parametrize("kind", OWN)
def test_a_run_does_without_none_of_its_operators(kind, digits, monkeypatch):
    source, built = kind.source, compiling._built
    monkeypatch.setattr(
        compiling, "_built", lambda name, command: built("nothing" if name == source else name, command)
    )
    compiling.library.cache_clear()
    try:
        for precision, needed in (("32-true", True), ("bf16-mixed", kind.reads_bfloat16)):
            with pytest.raises(UsageError, match=r"need a C\+\+ compiler") if needed else nullcontext():
                check_operators(planned(digits, fused=True, precision=precision))
    finally:
        compiling.library.cache_clear()


@needs_compiler
@pytest.mark.parametrize("name", [NOISY, "densenet_bc_l16_k8"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_memory_efficient_run_is_resumed_to_the_same_bits(name, precision, digits, tmp_path):
    options = {"fused": True, "memory_efficient": True, "precision": precision}
    config, network = plan(digits, cw.network(name), epochs=0.4, recipe={"ema": 0.9, "progressive": 0.5}, **options)
    train(config, network, digits, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "stopped", [StopAfter(5)])
    resume(Run.open(tmp_path / "stopped"), digits)
    assert_same(last_state(tmp_path / "stopped"), last_state(tmp_path / "whole"))


def test_a_run_does_not_change_its_operators(digits, tmp_path):
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.2, fused=False)
    with pytest.raises(Interrupted):
        train(config, network, digits, tmp_path / "run", [StopAfter(3)])
    said = tmp_path / "run" / "config.yaml"
    values = yaml.safe_load(said.read_text())
    (tmp_path / "run" / "checksums.json").unlink()  # as earlier versions left it
    said.write_text(yaml.safe_dump(values | {"memory_efficient": True}))
    with pytest.raises(RunError, match="memory_efficient is True, and the run began with False"):
        resume(Run.open(tmp_path / "run"), digits)
    older = {name: value for name, value in values.items() if name not in ("fused", "memory_efficient")}
    said.write_text(yaml.safe_dump(older))  # as versions before these fields wrote it
    (tmp_path / "run" / "checksums.json").unlink()
    resume(Run.open(tmp_path / "run"), digits)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of this test alone; what is compiled stays in that of all tests."""
    compiled = cache_folder() / "compiled"
    (tmp_path / "cache" / "convwright").mkdir(parents=True)
    if compiled.exists():
        (tmp_path / "cache" / "convwright" / "compiled").symlink_to(compiled)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "convwright" / "operators"


def pretend(ratio, epochs):
    """Remember a measurement for the network of `SMALL`."""
    plan = cw.prepare(epochs=epochs, fused=False, **SMALL)
    remember(key_of(plan.network, plan.config.batch_size, plan.config.precision), ratio)


SMALL = {"data": "digits", "network": NOISY, "progress": False}


@needs_compiler
@pytest.mark.skipif(torch.cuda.is_available(), reason="they are for CPUs")
def test_the_faster_operators_are_chosen_and_remembered(cache):
    plan = cw.prepare(epochs=0.1, **SMALL)
    assert remembered(key_of(plan.network, plan.config.batch_size, plan.config.precision)) is not None
    assert any(note.startswith("fused operators" if plan.config.fused else "torch's operators") for note in plan.notes)
    for ratio, fused in ((1.25, True), (0.75, False), (1.0, True)):
        pretend(ratio, 0.1)
        plan = cw.prepare(epochs=0.1, **SMALL)
        assert plan.config.fused == fused
        measured = f"{ratio:.2f} times as fast" if fused else f"take {1 / ratio:.2f} times as long"
        assert any(measured in note for note in plan.notes)
    for asked in (True, False):
        plan = cw.prepare(epochs=0.1, fused=asked, **SMALL)
        assert plan.config.fused == asked
        assert not any("operators" in note for note in plan.notes)
    assert cw.prepare(epochs=0.1, fused=None, **SMALL).config.fused
    assert not cw.prepare(epochs=0.1, devices=2, **SMALL).config.fused


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is not measured")
@pytest.mark.parametrize(
    ("ratio", "chosen", "reason"),
    [
        (1.5, "bf16-mixed", "is about 1.50 times as fast"),
        (1.01, "32-true", "is about 1.01 times as fast"),
        (0.5, "32-true", "takes 2.00 times as long"),
        (None, "32-true", "no instructions for bfloat16"),
    ],
)
def test_the_faster_precision_is_chosen(ratio, chosen, reason, cache, monkeypatch):
    monkeypatch.setattr(precision_choice, "has_bf16", lambda: ratio is not None)
    plan = cw.prepare(epochs=0.1, fused=False, **SMALL)
    if ratio is not None:
        remember(speedup_key(plan.network, plan.config.batch_size, False), ratio)
    plan = cw.prepare(epochs=0.1, fused=False, precision="auto", **SMALL)
    assert plan.config.precision == chosen
    assert any(note.startswith(f"precision {chosen}") and reason in note for note in plan.notes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is not measured")
def test_the_speed_of_a_precision_is_measured_once(cache, monkeypatch):
    monkeypatch.setattr(precision_choice, "has_bf16", lambda: True)
    network = cw.network("cifar_resnet8|fit:8|channels:1|classes:10")
    first = choose_precision(network, 8, False)
    ratio = remembered(speedup_key(network, 8, False))
    assert ratio is not None
    assert (first.precision == "bf16-mixed") == (ratio >= MIN_SPEEDUP)
    assert first.reason.startswith(choose_precision(network, 8, False).reason[:60])


@pytest.mark.parametrize("options", [{"devices": 2}, {"cluster": "local"}])
def test_a_precision_of_several_processes_is_not_measured(options):
    with pytest.raises(UsageError, match="precision: auto measures one process"):
        cw.TrainRequest(data="digits", precision="auto", **options)


@needs_compiler
@pytest.mark.skipif(torch.cuda.is_available(), reason="they are for CPUs")
@pytest.mark.parametrize("ratio", [1.5, 0.5])
def test_a_resumed_run_keeps_what_was_chosen(ratio, cache, tmp_path):
    pretend(ratio, 0.4)
    whole = cw.train(epochs=0.4, out=tmp_path / "whole", **SMALL)
    with pytest.raises(Interrupted):
        cw.train(epochs=0.4, out=tmp_path / "run", callbacks=[StopAfter(5)], **SMALL)
    pretend(1 / ratio, 0.4)
    resumed = cw.resume(tmp_path / "run", progress=False)
    assert resumed.config.fused == whole.config.fused == (ratio > 1)
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
    again = cw.train(config=whole.path / "config.yaml", out=tmp_path / "again", progress=False)
    assert again.config == whole.config
    assert again.weights.read_bytes() == whole.weights.read_bytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="they are for CPUs")
def test_a_missing_compiler_is_reported_once(no_compiler, cache):
    first, second = (cw.prepare(epochs=0.1, **SMALL) for _ in range(2))
    assert first.config.fused is second.config.fused is False
    assert [note for note in first.notes if "compiler" in note and compiling.DISABLE in note]
    assert not [note for note in second.notes if "compiler" in note]


@pytest.mark.parametrize("seconds", [-1.0, 60.0])
def test_what_was_measured_on_a_busy_machine_is_forgotten(seconds, cache):
    remember("measured", 1.25, time.time() + seconds)
    assert remembered("measured") == (1.25 if seconds > 0 else None)


@pytest.mark.parametrize("batch", [1, 2, 3, 16])
def test_any_batch_can_be_measured(batch):
    state = torch.get_rng_state()
    assert measured_speedup(cw.network(NOISY), batch, "32-true", seconds=0.001).ratio > 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["densenet_bc_l16_k8", "densenet_l10_k4", NOISY])
def test_dense_blocks_save_memory_where_it_would_not_suffice(name, digits):
    config, network = plan(digits, cw.network(name), batch_size=32)
    learner = make_learner(config, network, digits)
    measured = step_bytes(learner, config, digits) / OVERHEAD
    assert kept_bytes(network) == pytest.approx(measured, rel=0.1)
    assert not memory_shortage(config, network, free=2**40)
    short = memory_shortage(config, network, free=2**10)
    assert bool(short) == name.startswith("densenet")
    needed = int(32 * measured * OVERHEAD / USABLE)
    assert not memory_shortage(config, network, free=int(1.2 * needed))
    pieces = config.model_copy(update={"recipe": config.recipe.model_copy(update={"accumulate": 4})})
    assert not memory_shortage(pieces, network, free=needed // 3)
