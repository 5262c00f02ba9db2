"""The pages in a real browser, and what their figures say in words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import convwright as cw
from convwright.display.figure_result import JoinedResult
from convwright.explain.feature_reuse import feature_reuse
from convwright.explain.opened import OpenNetwork
from convwright.explain.pruning import PruningStep, RandomCut, Saving
from convwright.explain.reuse_figures import cutting_costs, heat_maps
from convwright.explain.reuse_result import Pruning, Reuse
from convwright.prediction.network import Predictor

from ..chromium import EXECUTABLE, Browser

EVERY = "[...document.querySelectorAll('.plot')]"
DRAWN = f"{EVERY}.map(plot => plot.querySelectorAll('.main-svg .trace, .main-svg .hm image').length)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
needs_browser = pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def found():
    network = cw.network("densenet_bc_l22_k12|channels:1|resolution:28")
    return feature_reuse(network, cw.build(network, seed=0))


@pytest.fixture(scope="module")
def pruned(found):
    saving, weakest = Saving(10, 100), found.weakest()
    cuts = (RandomCut(0, saving, 0.3), RandomCut(1, saving, 0.5))
    whole = PruningStep(0, 0, (), 100, 1000, Saving(0, 0), 0.9, (0.88, 0.92), ())
    return [whole, PruningStep(0.2, 12, weakest[:12], 90, 900, saving, 0.8, (0.78, 0.82), cuts)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def check(browser: Browser, page: Path, plots: int) -> None:
    for width, dark in ((1400, False), (390, True)):
        browser.open(page, width, dark=dark)
        drawn = browser.run(DRAWN)
        assert len(drawn) == plots
        assert all(drawn), drawn
        assert browser.run(OVERFLOW) <= 0, "the page scrolls sideways"
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@needs_browser
def test_every_heat_map_is_drawn(browser, found, pruned, tmp_path):
    page = tmp_path / "reuse.html"
    network = cw.network("densenet_bc_l22_k12|channels:1|resolution:28")
    predictor = Predictor(network, cw.build(network, seed=0), list("abcdefghij"), (0.5,), (0.2,))
    reuse = Reuse(OpenNetwork("dense", predictor), found)
    JoinedResult(reuse, Pruning(reuse, "val", tuple(pruned))).save_html(page)
    check(browser, page, plots=7)


@needs_browser
def test_every_curve_is_drawn(browser, runs, convwright, tmp_path):
    page = tmp_path / "gates.html"
    answer = convwright("explain", "excitation", runs["gated"], "--drop", "--out", page)
    assert answer.status == 0, answer.err
    check(browser, page, plots=6 + 6 + 3 + 1)


def test_heat_maps_hold_the_matrices_and_frame_what_follows(found):
    for raw in (False, True):
        for block, panel in zip(found.blocks, heat_maps(found, raw=raw).panels, strict=True):
            (heat,) = panel.plot.data
            assert [list(row) for row in heat.z] == [list(row) for row in (block.raw if raw else block.relative)]
            (frame,) = panel.plot.layout.shapes
            assert (frame.x0 + frame.x1) / 2 == len(block.targets) - 1
            assert block.name in panel.alt
    assert "average absolute weight" in heat_maps(found).caption


def test_the_words_for_raw_weights_are_about_raw_weights(found):
    for block, panel in zip(found.blocks, heat_maps(found, raw=True).panels, strict=True):
        weights = {
            (value, source, target)
            for source, row in zip(block.sources, block.raw, strict=True)
            for target, value in zip(block.targets, row, strict=True)
            if value is not None
        }
        for name, (value, source, target) in (("least", min(weights)), ("greatest", max(weights))):
            assert f"the {name} {value:.2g} from source {source} to target {target}" in panel.alt
        assert "relative" not in panel.alt


def test_cutting_is_drawn_with_its_intervals_beside_random_cuts(found, pruned):
    at_random, weakest = cutting_costs(found, pruned, "validation").panels[0].plot.data
    assert list(weakest.y) == [0.9, 0.8]
    assert weakest.error_y.arrayminus[1] == pytest.approx(0.02)
    assert list(at_random.y) == [0.4]
    assert at_random.error_y.array[0] == pytest.approx(0.1)
