"""LiteRT and ExecuTorch: files for phones predict as the network does, in float and in 8 bits."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

import convwright as cw
from convwright.benchmarking.backends import backends_named
from convwright.engines.card_reading import read_card
from convwright.engines.runner import cores
from convwright.engines.trailer import MAGIC, read_trailer
from convwright.errors import ConvwrightError, UsageError
from convwright.exporting.export import export
from convwright.exporting.quantization import Calibration
from convwright.machine import silenced_native_errors
from convwright.prediction.files import FilePredictor, open_predictor
from convwright.prediction.portable import PortablePredictor

from ..subjects import check_of, images_for, subject_of
from ..tiny import RECALIBRATED, TINY
from .test_program import MORE

SMALL = "cifar_seresnet8|scale:w=0.25|resolution:16"
WINDOWS = {
    "padded maximum of negative values": "googlenet|resolution:64|scale:w=0.125",
    "mean over padded windows": "inception_v3|resolution:96|scale:w=0.125",
}


def exported(format, suffix, folder, *, int8=False, expression=SMALL):
    subject = subject_of(expression)
    check = check_of(subject, 12)
    calibration = Calibration(images_for(subject, 24, seed=4), check, 1.0) if int8 else None
    return subject, export(subject, folder / f"network{suffix}", format, check, calibration=calibration)


@pytest.mark.parametrize(
    "expression", (TINY | RECALIBRATED | MORE | WINDOWS).values(), ids=[*TINY, *RECALIBRATED, *MORE, *WINDOWS]
)
def test_litert_computes_what_the_network_computes(expression):
    pytest.importorskip("ai_edge_litert")
    from convwright.engines.litert import litert_runner
    from convwright.exporting.litert_writer import litert_file, litert_model

    subject = subject_of(expression)
    for program in (subject.program, subject.eager_program):
        run = litert_runner(litert_file(litert_model(program)), 1)
        for count in (3, 1, 2, 3):  # any number of images, in any order
            images = images_for(subject, count, seed=count)
            expected = subject.reference(images)
            assert np.abs(run(images) - expected).max() < 1e-5 * np.abs(expected).max()


def test_litert_in_8_bits_is_smaller_and_close(tmp_path):
    pytest.importorskip("ai_edge_quantizer")
    subject, plain = exported("litert", ".tflite", tmp_path, expression="efficientnet_lite0|resolution:32|scale:w=0.25")
    _, small = exported(
        "litert", ".tflite", tmp_path, int8=True, expression="efficientnet_lite0|resolution:32|scale:w=0.25"
    )
    assert small.bytes < 0.45 * plain.bytes
    assert small.card.precision == "int8"
    images = images_for(subject, 5)
    expected, found = subject.reference(images), FilePredictor(small.path).logits(images)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_groups_stay_in_float_where_they_are_ignored(tmp_path):
    pytest.importorskip("ai_edge_quantizer")
    from convwright.exporting.litert_quantizer import LitertQuantizer
    from convwright.exporting.litert_writer import litert_file, litert_model

    subject = subject_of(SMALL)
    quantizer = LitertQuantizer(litert_file(litert_model(subject.program)), "normalisation")
    names, images = quantizer.layers(), images_for(subject, 16)
    assert len({*names}) == len(names)
    expected = subject.reference(images)
    all_ignored, none_ignored = (
        np.abs(quantizer.runner(quantizer.quantize(images, ignored))(images) - expected).max()
        for ignored in (names, [])
    )
    assert all_ignored < 1e-5 < none_ignored


def test_executorch_predicts_as_the_network_and_is_checked_when_it_is_opened(tmp_path):
    pytest.importorskip("executorch")
    subject, done = exported("executorch", ".pte", tmp_path)
    assert done.agreements["executorch"].difference < 1e-5
    assert "1 x 3 x 16 x 16" in str(done)
    for count in (1, 3):
        images = images_for(subject, count, seed=count)
        assert np.allclose(FilePredictor(done.path).logits(images), subject.reference(images), atol=1e-4)
    (given,), (expected,) = (
        cw.load(done.path).predict([np.full((9, 8, 3), 90, np.uint8)]),
        subject.predictor.predict([np.full((9, 8, 3), 90, np.uint8)]),
    )
    assert given.classes == expected.classes
    with pytest.raises(UsageError, match=f"chooses the number of threads itself and cannot run with {cores() + 1}"):
        FilePredictor(done.path, threads=cores() + 1)
    content = done.path.read_bytes()
    for place in (30, len(content) // 2, len(content) - 300, len(content) - 1):
        done.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UsageError, match=r"network\.pte: "):
            cw.load(done.path)


@pytest.mark.slow
def test_executorch_in_8_bits_is_smaller_and_close(tmp_path):
    pytest.importorskip("executorch")
    expression = "efficientnet_lite0|resolution:32|scale:w=0.25"
    subject, plain = exported("executorch", ".pte", tmp_path, expression=expression)
    _, small = exported("executorch", ".pte", tmp_path, int8=True, expression=expression)
    assert small.bytes < 0.5 * plain.bytes
    images = images_for(subject, 5)
    expected, found = subject.reference(images), FilePredictor(small.path).logits(images)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_a_network_that_a_compiler_refuses_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("executorch")

    def fail(*_):
        raise ValueError("pass failed") from RuntimeError("no kernel for it\nat line 3")

    monkeypatch.setattr("convwright.exporting.executorch_writer.executorch_file", fail)
    with pytest.raises(ConvwrightError, match=r"^the network cannot be written in the format executorch: no kernel"):
        exported("executorch", ".pte", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("format", "suffix", "package", "extra"),
    [("litert", ".tflite", "ai_edge_litert", "litert"), ("executorch", ".pte", "executorch", "executorch")],
)
def test_a_missing_package_is_reported_with_its_extra(format, suffix, package, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("convwright.extras.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=rf"{package}: pip install 'convwright\[{extra}\]'"):
        exported(format, suffix, tmp_path)
    with pytest.raises(UsageError, match=rf"engine.*{format} needs {package}: pip install 'convwright\[{extra}\]'"):
        backends_named([format])


@pytest.mark.parametrize("format", ["litert", "executorch"])
def test_what_files_for_phones_do_not_have_is_refused(format, tmp_path):
    subject, out = subject_of(SMALL), tmp_path / f"network{ {'litert': '.tflite', 'executorch': '.pte'}[format] }"
    for options, message in (
        ({"input": "image"}, f"a file in the format {format} holds the network alone; use tensor"),
        ({"explain": True}, f"the format {format} has no further outputs; use onnx or openvino"),
        ({"opset": 17}, "only the format onnx has an opset"),
    ):
        with pytest.raises(UsageError, match=message):
            export(subject, out, format, check_of(subject), **options)


def test_a_card_after_the_end_is_read_and_checked(tmp_path):
    path = tmp_path / "a.tflite"
    for content in (b"", b"TFL3", MAGIC, b"TFL3" + bytes(8) + b"convwrix"):
        path.write_bytes(content)
        assert read_trailer(path) is None
        with pytest.raises(UsageError, match="it has no card"):
            read_card(path)
    for length in (5, 2**63):
        path.write_bytes(b"card" + length.to_bytes(8, "little") + MAGIC)
        with pytest.raises(
            UsageError, match=r"a\.tflite: not a readable LiteRT file: its card is longer than the file"
        ):
            read_card(path)


def test_limits_are_in_the_card_and_follow_the_energy(run, tmp_path):
    pytest.importorskip("ai_edge_litert")
    done = cw.export(run, tmp_path / "digits.tflite", images=60)
    assert done.card.limits is not None
    assert done.card.limits.ood_score is None
    assert done.card.outputs == ("logits",)
    assert done.selection is None
    (found,) = cw.load(done.path).predict([np.zeros((9, 9), np.uint8)], coverage=0.9)
    assert found.known is not None


def test_native_errors_are_back_after_they_were_hidden(capfd):
    import os

    with silenced_native_errors(), silenced_native_errors():
        os.write(2, b"hidden")
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def test_another_card_is_refused(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from convwright.exporting.writing import draft, write_draft

    subject = subject_of(SMALL)
    made = draft(subject, "litert", folder=tmp_path)
    write_draft(made, tmp_path / "a.tflite", replace(subject.card, classes=("one", "another")))
    with pytest.raises(UsageError, match="its card requires"):
        cw.load(tmp_path / "a.tflite")


@pytest.mark.parametrize(("format", "suffix"), [("litert", ".tflite"), ("executorch", ".pte")])
def test_threads_that_share_a_file_get_their_own_answers(format, suffix, tmp_path):
    pytest.importorskip("executorch" if format == "executorch" else "ai_edge_litert")
    subject, done = exported(format, suffix, tmp_path)
    predictor = FilePredictor(done.path)
    images = [images_for(subject, 2, seed=seed) for seed in range(40)]
    expected = [predictor.logits(each) for each in images]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(predictor.logits, images))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_worker_with_any_number_of_cores_runs_the_files(tmp_path):
    pytest.importorskip("executorch")
    subject, done = exported("executorch", ".pte", tmp_path)
    images = images_for(subject)
    threads = torch.get_num_threads()
    try:
        for count in (1, cores() + 1):
            for predictor in (
                open_predictor(done.path, threads=count),
                PortablePredictor.of(FilePredictor(done.path)).open(count),
            ):
                np.testing.assert_array_equal(predictor.logits(images), FilePredictor(done.path).logits(images))
    finally:
        torch.set_num_threads(threads)  # workers are processes of their own
