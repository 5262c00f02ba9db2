"""Files that were damaged or never ours: loading them is one line of error, and never a prediction."""

import random
import shutil
import struct

import pytest

import convwright as cw
from convwright.errors import ConvwrightError
from convwright.exporting.export import export
from convwright.exporting.writing import FORMATS

from ..mutations import damaged as mutated
from ..subjects import QUICK_FORMATS, check_of, subject_of

FILES = {"onnx": ".onnx", "openvino": ".xml", "weights": ".bin", "torch": ".safetensors"}
FILES |= {"litert": ".tflite"} if "litert" in QUICK_FORMATS else {}
FLIPS, MUTATIONS = 200, 300


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One file of each format, by its suffix."""
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("exported")
    subject = subject_of("cifar_resnet8|scale:w=0.25|resolution:8")
    for format in QUICK_FORMATS:
        export(subject, folder / f"network{FORMATS[format]}", format, check_of(subject))
    return folder


@pytest.fixture
def damaged(exported, tmp_path, request):
    """A copy of the files: the one to load, and the one to damage."""
    for path in exported.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    target = tmp_path / f"network{FILES[request.param]}"
    cw.load(loaded := target.with_suffix(".xml") if target.suffix == ".bin" else target)
    return loaded, target


def check_refused(loaded, name):
    with pytest.raises(ConvwrightError) as raised:
        cw.load(loaded)
    message = str(raised.value)
    assert message.startswith(f"{loaded}: "), name
    assert "\n" not in message
    assert len(message) < len(str(loaded)) + 400


@pytest.mark.parametrize("damaged", FILES, indirect=True)
def test_every_flipped_bit_is_noticed(damaged):
    loaded, target = damaged
    content, choose = target.read_bytes(), random.Random(0)
    places = [*range(20), *range(len(content) - 20, len(content)), *choose.sample(range(len(content)), FLIPS)]
    for place in places:
        bit = 1 << choose.randrange(8)
        target.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        check_refused(loaded, f"bit {bit} of byte {place}")


@pytest.mark.parametrize("damaged", FILES, indirect=True)
def test_every_mutation_is_one_line(damaged):
    loaded, target = damaged
    content, choose = target.read_bytes(), random.Random(1)
    for count in range(MUTATIONS):
        if (changed := mutated(content, choose)) != content:
            target.write_bytes(changed)
            check_refused(loaded, f"mutation {count}")


def safetensors(header):
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.onnx", b""),
        ("length.onnx", b"\x0a" + b"\xff" * 8 + b"\x7f"),
        ("metadata.onnx", b"\x72\x0f\x0a\x0aconvwright\x12\x01\xff"),
        ("empty.xml", b""),
        ("encoding.xml", b"<?xml version='1.0' encoding='none-such'?><net/>"),
        ("encoding.xml", b"<?xml version='1.0' encoding='shift_jis'?><net/>"),
        ("other.xml", b"<net/>"),
        ("valueless.xml", b"<net><rt_info><convwright/></rt_info></net>"),
        ("list.xml", b"<net><rt_info><convwright value='[]'/></rt_info></net>"),
        ("empty.safetensors", b""),
        ("without.safetensors", safetensors(b"{}")),
        ("list.safetensors", safetensors(b"[]")),
        ("null.safetensors", safetensors(b'{"__metadata__": null}')),
        ("number.safetensors", safetensors(b'{"__metadata__": {"convwright": 1}}')),
        ("deep.safetensors", safetensors(b"[" * 100_000)),
        ("digits.safetensors", safetensors(b"9" * 10_000)),
        ("nan.safetensors", safetensors(b'{"__metadata__": {"convwright": "{\\"version\\": NaN}"}}')),
        ("long.safetensors", struct.pack("<Q", 2**64 - 1) + b"{}"),
    ],
)
def test_files_of_others_are_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    (tmp_path / name).with_suffix(".bin").write_bytes(b"")
    check_refused(tmp_path / name, name)


@pytest.mark.parametrize("kind", ["BF16", "F16", "F64", "F8_E4M3", "I64", "BOOL"])
def test_arrays_of_other_numbers_are_refused(kind, exported, tmp_path):
    """Every type of the format, also those that numpy lacks."""
    import json

    from convwright.engines.card import CHECKSUM_PLACEHOLDER
    from convwright.files import digest_of

    content = (exported / "network.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    seal = json.loads(header["__metadata__"]["convwright"])["seal"]
    name = next(name for name in header if name.endswith(".bias"))
    begin, end = header[name]["data_offsets"]
    width = {"BF16": 2, "F16": 2, "F64": 8, "F8_E4M3": 1, "I64": 8, "BOOL": 1}[kind]
    header[name] |= {"dtype": kind, "shape": [(end - begin) // width]}
    changed = json.dumps(header).replace(seal, CHECKSUM_PLACEHOLDER).encode()
    changed = struct.pack("<Q", len(changed)) + changed + content[8 + size :]
    path = tmp_path / "network.safetensors"
    path.write_bytes(changed.replace(CHECKSUM_PLACEHOLDER.encode(), digest_of(changed).encode()))
    check_refused(path, kind)
