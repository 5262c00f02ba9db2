"""The pages of a search and of a family in a real browser, made from real training runs of one step each."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import convwright as cw
from convwright.arch.cost import cost
from convwright.arch.expression import network
from convwright.data import open_dataset
from convwright.scaling.experiment import Experiment, StudyCandidate
from convwright.scaling.family import compound_family, single_families
from convwright.scaling.findings import Findings
from convwright.scaling.halving import Schedule, Task
from convwright.scaling.outcome import Outcome
from convwright.scaling.page import write_scaling_page
from convwright.scaling.rules import Compound
from convwright.scaling.task_runner import TaskRunner, data_opener

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
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    """Return what a search and a family found."""
    base = network(BASE)
    names = ("cifar_resnet8|scale:w=0.25", "cifar_seresnet8|scale:w=0.5", "cifar_resnet8|scale:w=0.5")
    networks = [network(f"{name}|resolution:8|channels:1") for name in names]
    places = [{"alpha": 1.0 + index / 10, "beta": 1.1, "gamma": 1.15} for index in range(len(names))]
    titles = ["alpha {alpha:g}, beta {beta:g}, gamma {gamma:g}".format(**place) for place in places]
    search = tuple(
        StudyCandidate(title, each, place, cost(each).macs)
        for title, each, place in zip(titles, networks, places, strict=True)
    )
    members = compound_family(base, Compound(1.3, 1.2, 1.1), 2)
    family = tuple(member.candidate for member in [*members, *single_families(base, members)[0]])
    folder, threads = tmp_path_factory.mktemp("trials"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "search": run_here(base, search, rungs=2, tested=False, folder=folder / "search"),
            "family": run_here(base, family, rungs=1, tested=True, folder=folder / "family"),
        }
    finally:
        torch.set_num_threads(threads)


def run_here(base: Any, candidates: Any, rungs: int, tested: bool, folder: Path) -> Findings:
    """Train the tasks of a study, and return what it found."""
    schedule = Schedule(len(candidates), ONE_STEP, rungs, 1.5, seeds=2)
    fingerprint = open_dataset("digits").fingerprint
    fields = {"progressive": 0.0}
    experiment = Experiment(base, candidates, schedule, "digits", fingerprint, "fast", fields, tested=tested)
    runner = TaskRunner(experiment, folder, data_opener(experiment))
    results: dict[Task, Outcome] = {}
    while left := schedule.remaining({task: outcome.accuracy for task, outcome in results.items()}):
        results |= {task: runner.run(task) for task in left}
    return Findings.of(experiment, results)


def changed(findings: Findings, **values: Any) -> Findings:
    """Return findings with other values in every network."""
    return replace(findings, networks=tuple(replace(each, **values) for each in findings.networks))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def opened(browser: Browser, findings: Findings, folder: Path, width: int, dark: bool = False) -> None:
    """Open the page of findings, which must cause no error and no request."""
    write_scaling_page(folder / "page.html", findings)
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
    browser: Browser, found: dict[str, Findings], tmp_path: Path, kind: str, plots: int, width: int, dark: bool
) -> None:
    opened(browser, found[kind], tmp_path, width, dark)
    assert len(browser.run(DRAWN)) == plots
    assert browser.run(OUTSIDE) == []
    assert browser.run(TOUCHING) == 0


CUT = """[...document.querySelectorAll('main td, main tbody th, main h4')].filter(cell => {
  const box = cell.getBoundingClientRect();
  return box.left < 0 || box.right > document.documentElement.clientWidth;
}).map(cell => cell.textContent)"""


@in_chromium
@pytest.mark.parametrize("kind", ["search", "family"])
def test_no_table_is_cut_on_a_narrow_screen(
    browser: Browser, found: dict[str, Findings], tmp_path: Path, kind: str
) -> None:
    opened(browser, found[kind], tmp_path, 390)
    assert browser.run(CUT) == []


@in_chromium
def test_no_table_of_a_plan_or_a_listed_family_is_cut_on_a_narrow_screen(browser: Browser, tmp_path: Path) -> None:
    plan, family = cw.plan("efficientnet_b0", "macs<=150M"), cw.family("efficientnet_b0", phi=2)
    for result in (plan, family, cw.search("cifar_resnet20", "digits", resolution=16, dry_run=True)):
        result.save_html(tmp_path / "result.html")
        browser.open(tmp_path / "result.html", 390)
        assert browser.run("document.querySelectorAll('td').length") > 8
        assert browser.run(CUT) == []
        assert browser.run(OVERFLOW) <= 0


@in_chromium
def test_intervals_are_drawn_between_0_and_1(browser: Browser, found: dict[str, Findings], tmp_path: Path) -> None:
    wide = changed(found["family"], accuracies={0: 0.1, 1: 0.9})  # of two seeds, half an interval is 5.1
    opened(browser, wide, tmp_path, 1000)
    ranges = browser.run(f"{EVERY}.map(p => p._fullLayout.yaxis.range)")
    assert all(-0.1 < low < high < 1.1 for low, high in ranges)
    assert all(browser.run(f"{EVERY}.map(p => p.querySelectorAll('.errorbar').length)"))


@in_chromium
def test_curves_that_end_together_have_names_apart(
    browser: Browser, found: dict[str, Findings], tmp_path: Path
) -> None:
    equal = changed(found["family"], accuracies={0: 0.95, 1: 0.95})
    opened(browser, equal, tmp_path, 390)
    assert browser.run(OUTSIDE) == []
    assert browser.run(TOUCHING) == 0


@in_chromium
def test_a_family_without_single_dimensions_is_a_family(
    browser: Browser, found: dict[str, Findings], tmp_path: Path
) -> None:
    family = found["family"]
    alone = replace(family, networks=tuple(each for each in family.networks if each.rule == "compound"))
    opened(browser, alone, tmp_path, 1000)
    assert "A family over phi" in browser.run("document.title")
    assert browser.run("document.querySelector('h2').textContent") == "Accuracy against cost"


@in_chromium
def test_a_large_search_is_drawn_in_part_and_listed_in_full(
    browser: Browser, found: dict[str, Findings], tmp_path: Path
) -> None:
    search = found["search"]
    networks = [replace(each, name=f"{each.name} <{n}>") for n in range(20) for each in search.networks]
    large = replace(search, networks=tuple(networks))
    opened(browser, large, tmp_path, 390)
    assert browser.run("document.querySelectorAll('tbody tr').length") == 60
    assert browser.run("document.querySelectorAll('.plot .ytick').length") == 30
    assert browser.run(OUTSIDE) == []


def test_the_page_shows_what_diverged_and_escapes_names(found: dict[str, Findings], tmp_path: Path) -> None:
    first, *others = found["search"].networks
    networks = (replace(first, diverged=1, name="</script><b>"), *others)
    odd = replace(found["search"], data="<script>alert(1)</script>", networks=networks)
    write_scaling_page(tmp_path / "page.html", odd)
    text = (tmp_path / "page.html").read_text()
    assert "1 diverged" in text
    assert "<script>alert(1)" not in text
    assert "</script><b>" not in text


def test_a_search_is_ranked_and_a_family_compared(found: dict[str, Findings], tmp_path: Path) -> None:
    for kind, heading in (("search", "Candidates"), ("family", "Compound scaling against each dimension alone")):
        write_scaling_page(tmp_path / f"{kind}.html", found[kind])
        text = (tmp_path / f"{kind}.html").read_text()
        assert heading in text
        assert found[kind].verdict.split(",")[0] in text


def test_findings_can_be_stored_and_read(found: dict[str, Findings]) -> None:
    for findings in found.values():
        assert Findings.from_dict(json.loads(json.dumps(findings.to_dict()))) == findings
    earlier = json.loads((Path(__file__).parents[2] / "docs" / "data" / "scaling-family.json").read_text())
    read = Findings.from_dict(earlier)
    for mine, stored in zip(read.comparisons, earlier["comparisons"], strict=True):
        assert mine.to_dict() == pytest.approx(stored)
    assert list(read.overall) == [each["other"] for each in earlier["overall"]]
