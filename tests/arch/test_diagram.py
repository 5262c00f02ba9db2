"""Drawings: what they show, and that nothing is clipped or written over something else."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convwright as cw
from convwright.arch.diagram import diagram
from convwright.arch.svg import Canvas, wrap
from convwright.errors import ArgumentError
from convwright.units import human, human_bytes, share

from .strategies import networks, raw

SVG = "{http://www.w3.org/2000/svg}"
NAMES = [
    "resnet50",
    "seresnet18",
    "densenet121",
    "densenet_bc_l100_k12",
    "efficientnet_b0",
    "efficientnet_b7|se:16,placement=post",
    "densenet121|se:16,placement=identity|scale:d=2.5,w=3",
    "resnet101_v1|se:16,placement=pre|phi:1.5|fit:32|classes:10",
    "cifar_resnet1202",
]
LAYERS = {"conv", "norm", "act", "pool", "linear"}
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def drawn(network: cw.Network) -> ET.Element:
    return ET.fromstring(diagram(network))


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def text_boxes(root: ET.Element) -> Iterator[tuple[str, Box]]:
    """Where each text is in a wide font, with digits and signs of 0.6 of its size."""
    for element in root.iter(f"{SVG}text"):
        said, size = element.text or "", float(element.attrib["font-size"])
        x, y, width = float(element.attrib["x"]), float(element.attrib["y"]), 0.6 * size * len(said)
        left = x - {"start": 0, "middle": width / 2, "end": width}[element.attrib["text-anchor"]]
        yield said, (left, y - 0.75 * size, left + width, y + 0.2 * size)


def layer_boxes(root: ET.Element) -> Iterator[tuple[str, Box]]:
    for element in root.iter(f"{SVG}rect"):
        if element.attrib["class"] in LAYERS:
            x, y, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
            yield element.attrib["class"], (x, y, x + width, y + height)


def apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def assert_tidy(root: ET.Element) -> None:
    """All text and every layer is on the page, and no two of a kind meet."""
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for found in (list(text_boxes(root)), list(layer_boxes(root))):
        for said, (left, top, right, bottom) in found:
            assert left >= 0, said
            assert top >= 0, said
            assert right <= width, said
            assert bottom <= height, said
        for (one, here), (other, there) in combinations(found, 2):
            assert apart(here, there), (one, other)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps_or_is_clipped(name: str) -> None:
    root = drawn(cw.network(name))
    assert_tidy(root)
    assert 1000 <= float(root.attrib["width"]) <= 1400


@settings(max_examples=25)
@given(networks | raw)
def test_any_network_can_be_drawn(network: cw.Network) -> None:
    root = drawn(network)
    said = texts(root)
    assert {stage.name for stage in network.stages} <= set(said)
    assert list(layer_boxes(root))


def test_the_flow_shows_stages_shapes_and_costs() -> None:
    said = texts(drawn(cw.network("resnet50")))
    for text in ("resnet50", "224 × 224 × 3", "3 × Bottleneck", "56 × 56 × 256", "7 × 7 × 2048", "1000 scores"):
        assert text in said
    for stage in cw.cost(cw.network("resnet50")).stages:
        assert human(stage.params) in said
        assert human(stage.macs) in said
    assert any("25.6 M parameters, 4.09 G MACs" in text for text in said)


def test_each_structure_is_drawn_once_where_it_first_stands() -> None:
    said = texts(drawn(cw.network("resnet50")))
    assert said.count("Bottleneck") == 2  # with a projection, and without
    assert "stem" in said
    assert any(text.startswith("stage1.block1, and 3 more") for text in said)
    assert any(text.startswith("stage1.block2, and 11 more") for text in said)
    assert "conv 7×7, 64, /2" in said
    assert said.count("conv 1×1, 256") == 3
    assert said.count("+") == 2


def test_joins_are_drawn_as_what_they_are() -> None:
    dense = texts(drawn(cw.network("densenet121")))
    assert "concat, 96" in dense  # 64 maps of the stem and 32 new ones
    assert not {"+", "×"} & set(dense)
    gated = texts(drawn(cw.network("seresnet50")))
    assert gated.count("×") == gated.count("SE") == 2
    assert "depthwise 3×3, 96, /2" in texts(drawn(cw.network("efficientnet_b0")))


def test_wide_networks_break_into_rows() -> None:
    network = cw.network("densenet_l40_k12")
    many = tuple(cw.arch.Stage(f"part{i}", network.stages[0].block, i + 1) for i in range(30))
    root = drawn(cw.arch.Network("wide", network.stem, many, network.head, 32))
    assert_tidy(root)


def test_names_cannot_break_the_file() -> None:
    network = cw.network("resnet18").changed("<b>&\"'</b> " + "x" * 400, classes=5)
    root = drawn(network)
    assert_tidy(root)
    assert network.name in (root.findtext(f"{SVG}title") or "")


def test_the_drawing_has_a_description_for_screen_readers() -> None:
    root = drawn(cw.network("seresnet18"))
    assert root.attrib["role"] == "img"
    assert root[0].tag == f"{SVG}title"
    described = root.findtext(f"{SVG}desc") or ""
    assert "11.8 M parameters" in described
    assert "stage1: 2 × BasicBlock, out 56 × 56 × 64" in described


def test_it_is_one_file_for_light_and_dark_pages() -> None:
    text = diagram(cw.network("resnet18"))
    assert "@media (prefers-color-scheme: dark)" in text
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "id=" not in text  # so that several can share a page


@given(st.text(alphabet="ab |,=", max_size=60), st.floats(30, 200))
def test_wrapping_loses_nothing_and_fits(text: str, width: float) -> None:
    lines = wrap(text, 10, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(len(line) <= max(4, int(width / 6.1)) for line in lines)


def test_arrows_point_where_lines_go() -> None:
    canvas = Canvas()
    canvas.line((0, 0), (0, 10), (20, 10), arrow=True)
    text = canvas.document(30, 30, "", "")
    assert "M0 0L0 10L20 10" in text
    assert "L20 10L" in text.split('class="head"')[1]


@pytest.mark.parametrize(
    ("count", "written"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (9_996, "10.0 k"),
        (99_960, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (25_557_032, "25.6 M"),
        (4_089_184_256, "4.09 G"),
        (5e15, "5e+15"),
    ],
)
def test_counts_are_written_in_three_digits(count: float, written: str) -> None:
    assert human(count) == written


def test_bytes_and_shares() -> None:
    assert (human_bytes(500), human_bytes(12_800_000)) == ("500 B", "12.8 MB")
    assert (share(1, 8), share(0, 0)) == ("12.5 %", "0.0 %")


@pytest.mark.parametrize("name", ["network.png", "network.PDF"])
def test_a_drawing_is_saved_as_svg_alone(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="drawings are SVG; name a file that ends in"):
        cw.draw("cifar_resnet8").save(tmp_path / name)
    with pytest.raises(ArgumentError, match=r"diagram: .* drawings are SVG"):
        cw.describe("cifar_resnet8", diagram=tmp_path / name)
    assert list(tmp_path.iterdir()) == []
