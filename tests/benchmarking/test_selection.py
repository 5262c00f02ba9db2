"""The engine file that a run keeps predicts only for the very run that it was made of."""

import json
import random
import shutil
import threading
import warnings
from contextlib import suppress

import numpy as np
import pytest

import convwright as cw
from convwright import json_text
from convwright.benchmarking.backends import backends
from convwright.benchmarking.measuring import prepared
from convwright.benchmarking.selecting import save_selection
from convwright.engines.selection import FOLDER, GUARDED, RECORD, find_selection, fingerprint
from convwright.errors import ConvwrightWarning, UsageError
from convwright.exporting.keeping import keep_export
from convwright.exporting.subject import Subject
from convwright.files import digest_of
from convwright.prediction.files import RunPredictor
from convwright.prediction.network import load

from ..engines.test_mutations import VALUES, as_json
from ..subjects import lively
from .rows import exported, row


@pytest.fixture(scope="module")
def engine_files(run, tmp_path_factory):
    """A folder with the run in ONNX, as `bench` writes it."""
    folder = tmp_path_factory.mktemp("prepared") / "files"
    with prepared(Subject(load(run), str(run)), [backends()["onnxruntime"]], ["f32"]) as made:
        shutil.copytree(made, folder)
    return folder


@pytest.fixture
def selected(run, engine_files, tmp_path, monkeypatch):
    """A copy of the run, in a folder whose name has a space, with a selection; torch only returns its name."""
    copy = tmp_path / "a run"
    shutil.copytree(run, copy)
    save_selection(copy, engine_files, row("onnxruntime", 1e-3, 0.9), fingerprint(copy))
    assert isinstance(cw.load(copy), RunPredictor)
    monkeypatch.setattr("convwright.prediction.network.load", lambda path, device: f"{path} in torch")
    return copy


def check_passed_over(run, message):
    with pytest.warns(ConvwrightWarning, match=r"^torch predicts instead of ") as warned:
        assert cw.load(run) == f"{run} in torch"
    (warning,) = warned
    assert message in str(warning.message)
    assert "\n" not in str(warning.message)


@pytest.mark.parametrize("name", GUARDED)
def test_a_change_of_the_run_is_noticed(name, selected):
    before = (selected / name).read_bytes()
    anew = f"select an engine again: `cw.bench({str(selected)!r}, select=PERCENT)`"
    for changed in (before + b" ", before[:-3] + b"]" + before[-2:], b""):
        (selected / name).write_bytes(changed)
        check_passed_over(selected, f"the run's {name} changed since; {anew}")
    (selected / name).unlink()
    check_passed_over(selected, f"the run's {name} changed since")
    (selected / name).write_bytes(before)
    assert isinstance(cw.load(selected), RunPredictor)


def test_a_run_that_is_trained_further_while_it_is_measured_has_no_selection(selected, engine_files):
    before = fingerprint(selected)
    with (selected / "model.safetensors").open("ab") as file:
        file.write(b" ")
    save_selection(selected, engine_files, row("onnxruntime", 1e-3, 0.9), before)
    check_passed_over(selected, "the run's model.safetensors changed since")


def test_every_flipped_bit_of_the_record_is_noticed(selected):
    record, choose = selected / FOLDER / RECORD, random.Random(0)
    content = record.read_bytes()
    for place in range(len(content)):
        bit = 1 << choose.randrange(8)
        record.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        check_passed_over(selected, f"{record}: ")


def test_records_with_wrong_values_are_refused(selected):
    """The checksum is right: whoever wrote them has computed it."""
    record = selected / FOLDER / RECORD
    sound = json.loads(record.read_text())
    del sound["checksum"]
    used = 0
    for name in sound:
        for value in VALUES:
            values = sound | {name: value}
            text = as_json(values)
            checksum = digest_of(text.encode())
            if "NaN" not in text and "Infinity" not in text and "9" * 5000 not in text:
                record.write_text(json_text.dump(values | {"checksum": checksum}, indent=1) + "\n")
            else:
                record.write_text(text)
            with suppress(UsageError):
                used += find_selection(selected) is not None
    assert used, "no value was harmless, so the record was refused for other reasons"


@pytest.mark.parametrize("asked", [False, True])
def test_of_records_of_earlier_versions_only_a_choice_is_reported(selected, asked):
    record = selected / FOLDER / RECORD
    values = json.loads(record.read_text())
    earlier = {name: value for name, value in values.items() if name not in ("run", "seal", "checksum")}
    record.write_text(json.dumps(earlier | {"weights": "0" * 32, "asked": asked}, indent=1))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert cw.load(selected) == f"{selected} in torch"
    assert any("written by an earlier version" in str(each.message) for each in warned) is asked


def test_another_export_in_the_place_of_the_kept_one_is_noticed(selected, run):
    predictor = load(run)
    lively(predictor.module)
    with prepared(Subject(predictor, "another"), [backends()["onnxruntime"]], ["f32"]) as folder:
        shutil.copyfile(folder / "f32.onnx", selected / FOLDER / "f32.onnx")
    assert cw.load(selected / FOLDER / "f32.onnx").classes == predictor.classes
    check_passed_over(selected, "f32.onnx: not the file that was selected")


def test_a_selection_of_torch_stays(selected, engine_files, run, tmp_path, monkeypatch):
    monkeypatch.undo()
    before = fingerprint(selected)
    chosen = save_selection(selected, engine_files, row("torch", 1e-3, 0.9), before)
    assert chosen.file == ""
    assert find_selection(selected) is None
    done = exported(run, tmp_path, ".onnx", 0.1)
    assert keep_export(selected, done, torch_milliseconds=4.0, before=before) is None
    assert [path.name for path in (selected / FOLDER).iterdir()] == [RECORD]


def test_several_processes_can_select_at_once(selected, engine_files):
    """Each leaves a whole folder; who loads the run meanwhile gets a whole selection, or torch."""
    before, errors = fingerprint(selected), []

    def select(count):
        try:
            for index in range(count):
                save_selection(selected, engine_files, row("onnxruntime", 1e-3 * (index + 1), 0.9), before)
        except Exception as error:  # reported by the test, not by the thread
            errors.append(error)

    writers = [threading.Thread(target=select, args=(15,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    image = np.zeros((8, 8), np.uint8)
    while any(writer.is_alive() for writer in writers):
        if isinstance(loaded := cw.load(selected), RunPredictor):
            assert loaded.predict([image])[0].classes
    for writer in writers:
        writer.join()
    assert errors == []
    assert isinstance(cw.load(selected), RunPredictor)
    assert sorted(path.name for path in (selected / FOLDER).iterdir()) == ["f32.onnx", RECORD]
    assert not list(selected.glob(".*"))
