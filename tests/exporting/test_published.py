"""What is published names no folder of the machine that it was made on, and no name in it becomes HTML or a link."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data.opened import Data
from convwright.exporting.model_card import model_card

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with images of three digits, a run, its exported files, and a report on it."""
    home = tmp_path_factory.mktemp("homes") / "somebody"
    train = Data("digits").dataset().train
    for label in range(3):
        (folder := home / "photos" / f"digit {label}").mkdir(parents=True)
        for number, image in enumerate(train.images[train.labels == label][:40, 0].numpy()):
            Image.fromarray(image).save(folder / f"{number}.png")
    run = cw.train(home / "photos", network="cifar_resnet8|scale:w=0.25", epochs=1, out=home / "run", progress=False)
    for suffix in (".onnx", ".xml", ".safetensors"):
        (home / suffix[1:]).mkdir()
        run.export(home / suffix[1:] / f"photos{suffix}")
    cw.report([run], home / "report.html")
    return home


@pytest.mark.parametrize("kind", ["onnx", "xml", "safetensors"])
def test_files_and_their_cards_have_no_local_paths(home, kind):
    files = sorted((home / kind).iterdir())
    assert {"README.md", f"photos.{kind}"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        for folder in (home, home.parent):
            assert str(folder).encode() not in content
            assert folder.name.encode() not in content
    text = (home / kind / "README.md").read_text()
    assert "validation images of photos" in text
    assert cw.load(home / kind / f"photos.{kind}").card.verified.on.endswith("validation images of photos")


def test_reports_have_no_local_paths(home):
    page = (home / "report.html").read_text()
    assert str(home) not in page
    assert "data: photos\n" in page
    assert "convwright train --config run/config.yaml --out run-again" in page
    assert np.any([str(home) in path.read_text() for path in (home / "run").glob("*.yaml")])  # which is not published


@pytest.mark.parametrize(
    "name", ["<img src=x>", "a & b &lt;i>", "[a](https://example.com)", "![a](b.png)", "`code`", "back\\<i>slash"]
)
def test_names_are_plain_text_in_model_cards(home, name):
    markdown = pytest.importorskip("markdown_it").MarkdownIt()
    done = cw.open_run(home / "run").export(home / "names.safetensors")
    verified = replace(done.card.verified, on=f"images of {name}")
    done = replace(done, card=replace(done.card, classes=(name, "other"), verified=verified))
    text = model_card(done).partition("---\n\n")[2]
    shown = [part for block in markdown.parse(text) for part in block.children or []]
    assert not {part.type for part in shown} & {"html_inline", "link_open", "image"}
    texts = "".join(part.content for part in shown if part.type.startswith("text"))
    assert f"images of {name}" in texts
    assert repr(name) in texts
