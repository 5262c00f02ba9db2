"""Core ML packages: structure, constants and operations are those of the network; nothing here runs Core ML."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import convwright as cw
from convwright.errors import ConvwrightError, UsageError
from convwright.exporting.agreement import CheckImages
from convwright.exporting.export import export
from convwright.exporting.model_card import model_card
from convwright.stats.limits import fit_limits

from ..installed import skip_without
from ..subjects import check_of, images_for, subject_of
from ..tiny import RECALIBRATED, TINY
from .test_mobile import SMALL, WINDOWS
from .test_program import MORE

skip_without("coremltools")


def spec_of(path):
    """Return the specification of a package."""
    import coremltools

    return coremltools.utils.load_spec(str(path))


def package_of(program, folder):
    from convwright.exporting.coreml_reading import read_package
    from convwright.exporting.coreml_writer import coreml_model
    from convwright.exporting.quiet import quiet

    with quiet():
        coreml_model(program).save(str(folder / "network.mlpackage"))
    return read_package(folder / "network.mlpackage")


@pytest.mark.parametrize(
    "expression", (TINY | RECALIBRATED | MORE | WINDOWS).values(), ids=[*TINY, *RECALIBRATED, *MORE, *WINDOWS]
)
def test_operations_that_were_written_compute_what_the_network_computes(expression, tmp_path):
    from convwright.exporting.coreml_export import check_structure
    from convwright.exporting.coreml_reading import package_runner

    subject = subject_of(expression)
    for name in ("program", "eager_program"):
        program = getattr(subject, name)
        (folder := tmp_path / name).mkdir()
        package = package_of(program, folder)
        check_structure(package, program, folder)
        images = images_for(subject, 3)
        expected = subject.reference(images)
        assert np.abs(package_runner(package)(images) - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_package_has_ports_classes_and_card(tmp_path):
    subject = subject_of(SMALL)
    labels = np.arange(24) % len(subject.predictor.classes)
    check = CheckImages(images_for(subject, 24), labels, "24 images")
    out = tmp_path / "network.mlpackage"
    limits = fit_limits(subject.reference(check.images), labels)
    done = export(subject, out, "coreml", check, limits=(limits, None))
    assert done.agreements["its operations in torch"].difference < 1e-5
    assert done.files == (out,)
    assert done.bytes == sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    assert "an RGB image of 16 x 16 pixels" in str(done)
    assert "not run in Core ML" in str(done)
    assert "VNCoreMLRequest" in model_card(done)
    spec = spec_of(out)
    stored = spec.description.metadata.userDefined
    assert json.loads(stored["classes"]) == list(subject.predictor.classes)
    card = json.loads(stored["convwright"])
    assert card["mean"] == pytest.approx(subject.predictor.mean)
    assert card["limits"]["images"] == 24
    assert "engines" not in card["verified"]
    image, logits = spec.description.input[0], spec.description.output[0]
    assert (image.name, image.type.imageType.width) == ("images", 16)
    assert (logits.name, list(logits.type.multiArrayType.shape)) == ("logits", [1, len(labels[:10])])
    assert not [path for path in tmp_path.iterdir() if path != out]


def test_networks_with_other_channels_take_an_array(tmp_path):
    subject = subject_of("cifar_resnet8|scale:w=0.25|resolution:16|channels:5")
    done = export(subject, tmp_path / "five.mlpackage", "coreml", check_of(subject))
    port = spec_of(done.path).description.input[0]
    assert list(port.type.multiArrayType.shape) == [1, 5, 16, 16]


def test_a_package_is_replaced_and_nothing_else(tmp_path):
    subject, out = subject_of(SMALL), tmp_path / "network.mlpackage"
    first = export(subject, out, "coreml", check_of(subject))
    again = export(subject, out, "coreml", check_of(subject))
    assert [*tmp_path.iterdir()] == [out]
    assert first.agreements == again.agreements
    for other in ("file", "folder"):
        there = tmp_path / f"{other}.mlpackage"
        there.write_text("mine") if other == "file" else (there / "mine").mkdir(parents=True)
        with pytest.raises(UsageError, match=r"exists and is not a Core ML package; name another file"):
            export(subject, there, "coreml", check_of(subject))
    with pytest.raises(UsageError, match="there is no folder"):
        export(subject, tmp_path / "absent" / "a.mlpackage", "coreml", check_of(subject))


def test_a_package_with_another_weight_is_not_written(tmp_path, monkeypatch):
    from convwright.exporting import coreml_export

    subject, written = subject_of(SMALL), coreml_export.coreml_model

    def changed(program):
        last = program.ops[-1]
        return written(replace(program, ops=(*program.ops[:-1], replace(last, bias=last.bias + 1))))

    monkeypatch.setattr(coreml_export, "coreml_model", changed)
    with pytest.raises(ConvwrightError, match=r"network\.mlpackage was not written: bias of .* is not in it"):
        export(subject, tmp_path / "network.mlpackage", "coreml", check_of(subject))
    assert not [*tmp_path.iterdir()]


def test_packages_are_refused_in_one_line_where_they_cannot_run(tmp_path):
    subject, out = subject_of(SMALL), tmp_path / "network.mlpackage"
    export(subject, out, "coreml", check_of(subject))
    for use in (cw.load, cw.bench, lambda path: cw.predict(path, [np.zeros((8, 8, 3), np.uint8)])):
        with pytest.raises(UsageError, match="Core ML packages run on Apple's systems only"):
            use(out)


def test_a_missing_package_is_reported_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "coremltools", None)
    monkeypatch.setattr("convwright.extras.find_spec", lambda _: None)
    subject = subject_of(SMALL)
    with pytest.raises(UsageError, match=r"coremltools: pip install 'convwright\[coreml\]'"):
        export(subject, tmp_path / "a.mlpackage", "coreml", check_of(subject))
