"""Distillation: losses of predictions, teachers that are kept in runs, and runs that are resumed."""

import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import RunError, UsageError
from convwright.prediction.network import load
from convwright.training.callbacks import Callback
from convwright.training.interrupt import Interrupted
from convwright.training.run import Run
from convwright.training.teacher import Teacher, divergence

logits = st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=4).map(torch.tensor)


@given(logits, st.floats(0.5, 20), st.booleans())
def test_a_student_like_its_teacher_has_nothing_to_learn(taught, temperature, multi_label) -> None:
    same = divergence(taught, taught, temperature, multi_label=multi_label)
    assert same.abs().max() < 1e-4
    other = divergence(taught.flip(0) + torch.tensor([1.0, 0.0, -1.0]), taught, temperature, multi_label=multi_label)
    assert other.min() > -1e-4


def test_the_divergence_is_that_of_torch() -> None:
    student, taught = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    found = divergence(student, taught, 3.0, multi_label=False)
    expected = torch.nn.functional.kl_div(
        (student / 3).log_softmax(1), (taught / 3).log_softmax(1), reduction="none", log_target=True
    )
    assert torch.allclose(found, 9 * expected.sum(1), atol=1e-5)


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Run:
    """A run on digits, at twice their size."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    return cw.train(
        data="digits", network="cifar_resnet8", resolution=16, epochs=2, recipe="fast", out=out, progress=False
    )


def request(run: Run, out, **fields) -> dict:
    options = {"data": "digits", "network": "cifar_resnet8|scale:w=0.5", "epochs": 1, "recipe": "fast"}
    return {**options, "teacher": str(run.path), "out": out, "progress": False, **fields}


def test_a_teacher_is_read_back(taught, tmp_path) -> None:
    teacher = Teacher.of_run(Run.open(taught.path))
    (tmp_path / "teacher.safetensors").write_bytes(teacher.to_bytes())
    again = Teacher.read(tmp_path / "teacher.safetensors")
    assert (again.network, again.classes, again.mean) == (teacher.network, teacher.classes, teacher.mean)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in teacher.tensors.items())


def test_a_teacher_predicts_what_its_run_predicts(taught) -> None:
    teacher, images = Teacher.of_run(Run.open(taught.path)), open_dataset("digits", resolution=16)
    expected = load(taught.path).logits(images.val.take(torch.arange(20)))
    otherwise = replace(images, mean=(0.1,), std=(0.7,))
    seen = otherwise.normalise(images.val.take(torch.arange(20)))
    found = teacher.module(otherwise.mean, otherwise.std)(seen)
    assert torch.allclose(found, expected, atol=1e-3)


def test_a_student_of_labels_alone_learns_otherwise(taught, tmp_path) -> None:
    one = cw.train(**request(taught, tmp_path / "one"))
    assert Run.open(one.path).config.teacher == str(taught.path)
    other = cw.train(**request(taught, tmp_path / "other", teacher=None))
    weights = [load_file(run.path / "model.safetensors") for run in (one, other)]
    assert any(not torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_with_all_of_the_loss_labels_do_not_matter(taught, tmp_path) -> None:
    """The student reaches a high accuracy, though its loss has no label in it."""
    found = cw.train(**request(taught, tmp_path / "run", epochs=6, distillation=1.0))
    assert found.summary.val_accuracy > 0.8


@pytest.mark.parametrize("fields", [{}, {"mixup": 0.2, "progressive": 0.5, "accumulate": 2}])
def test_a_distilled_run_that_is_stopped_ends_in_the_same_weights_without_its_teacher(taught, tmp_path, fields) -> None:
    class Stops(Callback):
        def on_step(self, step) -> None:
            if step.number == 7:
                os.kill(os.getpid(), signal.SIGTERM)

    copy = tmp_path / "teacher"
    shutil.copytree(taught.path, copy)
    options = request(taught, tmp_path / "whole", teacher=str(copy), **fields)
    whole = cw.train(**options)
    with pytest.raises(Interrupted):
        cw.train(**{**options, "out": tmp_path / "stopped"}, callbacks=[Stops()])
    shutil.rmtree(copy)
    again = cw.resume(tmp_path / "stopped", progress=False)
    expected, found = (load_file(run.path / "model.safetensors") for run in (whole, again))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    repeated = cw.train(config=whole.path / "config.yaml", out=tmp_path / "repeated", progress=False)
    assert all(
        torch.equal(load_file(repeated.path / "model.safetensors")[name], tensor) for name, tensor in expected.items()
    )


def test_a_run_whose_teacher_is_missing_is_not_resumed(taught, tmp_path) -> None:
    class Stops(Callback):
        def on_step(self, step) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        cw.train(**request(taught, tmp_path / "run"), callbacks=[Stops()])
    (tmp_path / "run" / "teacher.safetensors").unlink()
    with pytest.raises(RunError, match=r"teacher\.safetensors: missing; the run learns from it"):
        cw.resume(tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"teacher": "nowhere"}, "nowhere"),
        ({"teacher": None, "distillation": 0.9}, "distillation: has no effect without `teacher`"),
        ({"teacher": None, "temperature": 2.0}, "temperature: has no effect without `teacher`"),
        ({"distillation": 0.0}, "distillation: must be above 0"),
        ({"temperature": 0.0}, "temperature: must be above 0"),
        ({"folds": 3}, "teacher: may have been trained on the images of each fold"),
    ],
)
def test_wrong_requests_are_refused(taught, tmp_path, fields, message) -> None:
    with pytest.raises(UsageError, match=message):
        cw.train(**request(taught, tmp_path / "run", **fields))
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes_is_refused(taught, tmp_path) -> None:
    for name, shade in (("dark", 40), ("light", 200)):
        (tmp_path / "shades" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.full((16, 16), shade + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shades" / name / f"{number}.png")
    with pytest.raises(
        UsageError, match=r"teacher: .* has other classes \(0, 1, 2, \.\.\.\) than the images \(dark, light\)"
    ):
        cw.train(**request(taught, tmp_path / "run", data=str(tmp_path / "shades"), network="cifar_resnet8"))
