"""The pages of a search and of a family in a real browser, made from real trainings, if of one step each."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from convwright.arch.cost import cost
from convwright.arch.expression import network
from convwright.data import open_dataset
from convwright.reporting.scaling_page import write_scaling_page
from convwright.scaling.experiment import Candidate, Experiment
from convwright.scaling.family import compound_family, single_families
from convwright.scaling.halving import Schedule
from convwright.scaling.ranking import to_json
from convwright.scaling.rules import Compound
from convwright.scaling.trial import Trials, opener

from ..chromium import EXECUTABLE, Browser

in_chromium = pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")

BASE = "cifar_resnet8|scale:w=0.5|resolution:8|channels:1"
ONE_STEP = 0.001
EVERY = "[...document.querySelectorAll('.plot')]"
DRAWN = f"{EVERY}.map(p => p.querySelectorAll('.main-svg .trace').length)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OUTSIDE = f"""{EVERY}.flatMap(plot => {{
  const frame = plot.getBoundingClientRect();
  return [...plot.querySelectorAll('.annotation-text, .ytick text, .xtick text, .xtitle, .ytitle')]
    .filter(text => {{
      const box = text.getBoundingClientRect();
      return box.left < frame.left || box.right > frame.right || box.top < frame.top || box.bottom > frame.bottom;
    }}).map(text => text.textContent);
}})"""
TOUCHING = f"""{EVERY}.flatMap(plot => {{
  const boxes = [...plot.querySelectorAll('.annotation-text')].map(text => text.getBoundingClientRect());
  return boxes.filter((one, index) => boxes.slice(index + 1).some(other =>
    one.left < other.right && other.left < one.right && one.top < other.bottom - 1 && other.top < one.bottom - 1));
}}).length"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What a search and a family found."""
    base = network(BASE)
    names = ("cifar_resnet8|scale:w=0.25", "cifar_seresnet8|scale:w=0.5", "cifar_resnet8|scale:w=0.5")
    networks = [network(f"{name}|resolution:8|channels:1") for name in names]
    places = [{"alpha": 1.0 + index / 10, "beta": 1.1, "gamma": 1.15} for index in range(len(names))]
    told = ["alpha {alpha:g}, beta {beta:g}, gamma {gamma:g}".format(**place) for place in places]
    search = tuple(
        Candidate(name, one, place, cost(one).macs) for name, one, place in zip(told, networks, places, strict=True)
    )
    members = compound_family(base, Compound(1.3, 1.2, 1.1), 2)
    family = tuple(one.candidate for one in [*members, *single_families(base, members)[0]])
    folder, threads = tmp_path_factory.mktemp("trials"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "search": carried_out(base, search, rungs=2, tested=False, folder=folder / "search"),
            "family": carried_out(base, family, rungs=1, tested=True, folder=folder / "family"),
        }
    finally:
        torch.set_num_threads(threads)


def carried_out(base: Any, candidates: Any, rungs: int, tested: bool, folder: Path) -> dict[str, Any]:
    """Train what a study asks for."""
    schedule = Schedule(len(candidates), ONE_STEP, rungs, 1.5, seeds=2)
    fingerprint = open_dataset("digits").fingerprint
    fields = {"progressive": 0.0}
    experiment = Experiment(base, candidates, schedule, "digits", fingerprint, "fast", fields, tested=tested)
    trials, results = Trials(experiment, folder, opener(experiment)), {}
    while left := schedule.remaining({task: one.accuracy for task, one in results.items()}):
        results |= {task: trials.run(task) for task in left}
    return to_json(experiment, results)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def opened(browser: Browser, found: dict[str, Any], folder: Path, width: int, dark: bool = False) -> None:
    """Show the page of what was found, and let nothing be complained of or asked for."""
    write_scaling_page(folder / "page.html", found)
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(folder / "page.html", width, dark=dark)
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith("file:")] == []
    assert all(browser.run(DRAWN))
    assert browser.run(OVERFLOW) <= 0, "the page scrolls sideways"


@in_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize(("kind", "plots"), [("search", 1), ("family", 2)])
def test_every_figure_is_drawn_with_its_names_inside(
    browser: Browser, found: dict[str, Any], tmp_path: Path, kind: str, plots: int, width: int, dark: bool
) -> None:
    opened(browser, found[kind], tmp_path, width, dark)
    assert len(browser.run(DRAWN)) == plots
    assert browser.run(OUTSIDE) == []
    assert browser.run(TOUCHING) == 0


@in_chromium
def test_intervals_are_drawn_and_stay_between_nothing_and_all(
    browser: Browser, found: dict[str, Any], tmp_path: Path
) -> None:
    wide = deepcopy(found["family"])
    for one in wide["networks"]:
        one["half"] = 3.0  # as two seeds give
    opened(browser, wide, tmp_path, 1000)
    ranges = browser.run(f"{EVERY}.map(p => p._fullLayout.yaxis.range)")
    assert all(-0.1 < low < high < 1.1 for low, high in ranges)
    assert all(browser.run(f"{EVERY}.map(p => p.querySelectorAll('.errorbar').length)"))


@in_chromium
def test_curves_that_end_together_have_names_apart(browser: Browser, found: dict[str, Any], tmp_path: Path) -> None:
    equal = deepcopy(found["family"])
    for one in equal["networks"]:
        one |= {"mean": 0.95, "half": None}
    opened(browser, equal, tmp_path, 390)
    assert browser.run(OUTSIDE) == []
    assert browser.run(TOUCHING) == 0


@in_chromium
def test_a_family_without_rivals_is_a_family(browser: Browser, found: dict[str, Any], tmp_path: Path) -> None:
    alone = deepcopy(found["family"])
    alone["networks"] = [one for one in alone["networks"] if one["rule"] == "compound"]
    alone |= {"comparisons": [], "overall": []}
    opened(browser, alone, tmp_path, 1000)
    assert "A family over phi" in browser.run("document.title")
    assert browser.run("document.querySelector('h2').textContent") == "Accuracy against cost"


@in_chromium
def test_a_large_search_is_drawn_in_part_and_listed_in_full(
    browser: Browser, found: dict[str, Any], tmp_path: Path
) -> None:
    large = deepcopy(found["search"])
    large["networks"] = [one | {"name": f"{one['name']} <{n}>"} for n in range(20) for one in large["networks"]]
    opened(browser, large, tmp_path, 390)
    assert browser.run("document.querySelectorAll('tbody tr').length") == 60
    assert browser.run("document.querySelectorAll('.plot .ytick').length") == 30
    assert browser.run(OUTSIDE) == []


def test_the_page_tells_what_diverged_and_escapes_names(found: dict[str, Any], tmp_path: Path) -> None:
    odd = deepcopy(found["search"])
    odd["data"] = "<script>alert(1)</script>"
    odd["networks"][0] |= {"diverged": 1, "name": "</script><b>"}
    write_scaling_page(tmp_path / "page.html", odd)
    text = (tmp_path / "page.html").read_text()
    assert "1 diverged" in text
    assert "<script>alert(1)" not in text
    assert "</script><b>" not in text


def test_a_search_is_ranked_and_a_family_compared(found: dict[str, Any], tmp_path: Path) -> None:
    for kind, told in (("search", "Candidates"), ("family", "Compound scaling against each dimension alone")):
        write_scaling_page(tmp_path / f"{kind}.html", found[kind])
        text = (tmp_path / f"{kind}.html").read_text()
        assert told in text
        assert found[kind]["verdict"].split(",")[0] in text
    assert json.dumps(found["family"])
