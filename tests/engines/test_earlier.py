"""Files of the first format, whose checksums covered less, are still read."""

from dataclasses import dataclass

import numpy as np
import pytest

from convwright import json_text
from convwright.engines.card import CHECKSUM_PLACEHOLDER, Card
from convwright.errors import ConvwrightWarning, UsageError
from convwright.exporting.writing import FORMATS, draft
from convwright.files import digest, digest_of
from convwright.prediction.files import FilePredictor

from ..subjects import images_for

FORMATS_READ = [name for name in FORMATS if name in ("onnx", "openvino", "torch")]


@dataclass(frozen=True)
class FirstCard(Card):
    """A card as the first version of the format wrote it."""

    def to_json_text(self):
        fields = self.to_dict()
        del fields["seal"]
        return json_text.dump(fields | {"version": 1})


def written_by_the_first_version(subject, format, path):
    made = draft(subject, format, folder=path.parent)
    fields = {name: getattr(made.card, name) for name in Card.__dataclass_fields__}
    content = made.content(path, FirstCard(**fields | {"weights_checksum": CHECKSUM_PLACEHOLDER}))
    assert content.count(CHECKSUM_PLACEHOLDER.encode()) == 1
    weights = path.with_suffix(".bin")
    written = digest(weights) if weights.exists() else digest_of(content)
    path.write_bytes(content.replace(CHECKSUM_PLACEHOLDER.encode(), written.encode()))
    return weights if weights.exists() else path


@pytest.mark.parametrize("format", FORMATS_READ)
@pytest.mark.filterwarnings("ignore::convwright.errors.ConvwrightWarning")
def test_files_of_the_first_format_are_read_and_their_damage_is_noticed(subject, tmp_path, format):
    path = tmp_path / f"network{FORMATS[format]}"
    weights = written_by_the_first_version(subject, format, path)
    assert np.isfinite(FilePredictor(path).logits(images_for(subject))).all()
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(UsageError, match=r"checksum is wrong|another export"):
        FilePredictor(path)


def test_the_part_that_cannot_be_checked_is_named(subject, tmp_path):
    path = tmp_path / "network.xml"
    written_by_the_first_version(subject, "openvino", path)
    with pytest.warns(ConvwrightWarning, match=r"exported by an earlier version, which checks only network\.bin"):
        FilePredictor(path)
