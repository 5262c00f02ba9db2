"""Studies of lists: columns, resize mode and several labels reach every training."""

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.scaling.preparation import TrainingOptions

from .conftest import CLASSES


def test_a_study_opens_a_list_as_it_was_given(arrays, tmp_path):
    pytest.importorskip("sqlalchemy")
    images, labels = arrays
    lines = ["file,label,tags"]
    for number, (image, several) in enumerate(zip(images[:160], labels[:160], strict=True)):
        Image.fromarray(np.pad(image, ((0, 0), (0, 8)))).save(tmp_path / f"{number}.png")
        tags = "|".join(name for name, there in zip(CLASSES, several, strict=True) if there)
        lines.append(f"{number}.png,{'odd' if number % 2 else 'even'},{tags}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    data = cw.open_data(tmp_path / "labels.csv", label_column="tags", resize="squash", resolution=16)
    options = {"step": 0.3, "rungs": 1, "seeds": 1, "epochs": 0.5, "batch_size": 32, "out": tmp_path / "study"}
    found = cw.search("cifar_seresnet8|scale:w=0.25", data, **options)
    assert found.findings.measure == "mean average precision"
    fields = TrainingOptions().config_fields(data)
    assert fields == {"label_column": "tags", "resize": "squash"}
