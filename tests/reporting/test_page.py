import json
import re
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from convwright.errors import ConvwrightError, UsageError
from convwright.reporting import Entry
from convwright.training.run import Run

from .pages import write_report


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._inside = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def page(entries: list[Entry], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, "Three families on digits", entries, intro="What this is about.")
    return path.read_text(encoding="utf-8")


def test_nothing_is_fetched(page: str) -> None:
    elements = Elements(page)
    for tag, attributes in elements.found:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            address = attributes.get(name)
            assert address is None or address.startswith("#") or (tag == "a" and "https://arxiv.org/" in address)
    assert not elements.all("link")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(meta["content"] for meta in elements.all("meta") if "http-equiv" in meta)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


NASTY = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def hostile(entry: Entry) -> Entry:
    """The same network with classes, files and a title that are meant to break out of the page."""
    assert entry.predictions is not None
    classes = tuple(f"{NASTY}{index}" for index in range(len(entry.run.classes)))
    parts = tuple(replace(part, names=(f"{NASTY}.png",) * len(part)) for part in entry.predictions.parts)
    predictor = copy(entry.predictions.predictor)
    predictor.classes = classes
    data = replace(entry.predictions.data, classes=classes)
    predictions = replace(entry.predictions, predictor=predictor, data=data, parts=parts)
    return replace(
        entry, title=NASTY, run=replace(entry.run, classes=classes), predictions=predictions, data=f"/x/{NASTY}"
    )


def test_a_page_with_every_figure_is_small_enough_to_send(measured: list[Entry], tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", "Everything", measured)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for figure in ("confusion", "mistakes", "cam"):
        assert f'<h2 id="{figure}">' in page
    assert len(page.encode()) < 6e6
    assert page.count("plotly.js v") == 1


def test_nothing_that_data_is_called_can_break_out(measured: list[Entry], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, "Plain", measured)
    plain = Elements(path.read_text(encoding="utf-8"))
    write_report(path, NASTY, list(map(hostile, measured)), intro=NASTY)
    page = path.read_text(encoding="utf-8")
    elements = Elements(page)
    assert NASTY in elements.text, "the names do not stand in the page: this would prove nothing"
    for tag in ("script", "img", "svg"):
        assert len(elements.all(tag)) == len(plain.all(tag))
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    # Plotly takes texts for markup of its own, so that they must be escaped in the plots' data as well.
    plots = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert plots
    for plot in plots:
        assert "<img" not in plot
        assert not [text for text in texts_of(json.loads(plot)) if "<img" in text or "<script" in text]


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", 'it\'s "here" & back\\1slash', "Füße 猫 " * 12])
def test_folders_of_data_are_not_shown(name: str, entry: Callable[..., Entry], tmp_path: Path) -> None:
    given = entry("SE-ResNet")
    config = given.run.config.model_copy(update={"data": f"/secret/{name.strip()}"})
    entries = [replace(given, run=replace(given.run, config=config), data=f"../secret/{name.strip()}")]
    write_report(tmp_path / "report.html", "Report", entries)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "secret" not in page
    assert name.strip() in Elements(page).text
    assert not Elements(page).all("img")


def test_runs_below_the_root_change_nothing_else_of_a_page(entry: Callable[..., Entry], tmp_path: Path) -> None:
    given, pages = entry("SE-ResNet"), []
    for path in (Path("/run"), Path("/elsewhere/run")):
        write_report(tmp_path / "report.html", "Report", [replace(given, run=replace(given.run, path=path))])
        pages.append((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert "--config run/config.yaml --out run-again" in pages[0]
    assert "https://arxiv.org/abs/" in pages[0]


def texts_of(value: object) -> Iterator[str]:
    """Every text in data read from JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_of(inner)


def test_a_network_derived_from_another_run_is_not_said_to_be_repeated(
    entry: Callable[..., Entry], tmp_path: Path
) -> None:
    given = entry("SE-ResNet")
    run = Run.create(tmp_path / "lean", given.run.config, given.run.network, given.run.classes, given.run.data)
    run.write_summary(
        given.run.summary.model_copy(update={"derived_from": "runs/gated", "without_se": ["stage2.block1", "stage3"]})
    )
    derived = replace(given, run=run, title="Lean")
    texts = []
    for entries in ([derived], [derived, entry("DenseNet-BC")]):
        write_report(tmp_path / "report.html", "Derived", entries)
        texts.append(" ".join(Elements((tmp_path / "report.html").read_text(encoding="utf-8")).text.split()))
        assert "of the run runs/gated: squeeze-and-excitation was removed from stage2.block1 and stage3" in texts[-1]
        assert "does not reproduce them" in texts[-1]
    assert "repeat each training" not in texts[0]
    assert "unless it says otherwise, repeat each training" in texts[1]


def test_every_number_is_in_the_table(page: str, entries: list[Entry]) -> None:
    text = " ".join(Elements(page).text.split())
    assert "MACs are multiply-adds of convolutions and linear layers for one image; the papers call them FLOPs" in text
    assert "What this is about." in text
    for entry in entries:
        assert entry.run.network.name in text
        assert f"{100 * entry.accuracy:.1f} %" in text
        assert f"--config {entry.run.path.name}/config.yaml" in text
    assert str(entries[0].run.path.parent) not in page


def test_every_plot_and_diagram_is_described(page: str) -> None:
    elements = Elements(page)
    plots = [div for div in elements.all("div") if div.get("class") == "plot"]
    assert len(plots) == 5
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    assert len(elements.all("svg")) == len(elements.all("article")) == 3
    assert len(elements.all("h1")) == 1


def test_links_within_the_page_lead_somewhere(page: str) -> None:
    elements = Elements(page)
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = [a["href"] or "" for a in elements.all("a") if (a["href"] or "").startswith("#")]
    assert {link[1:] for link in inner} <= set(ids)


def test_the_same_runs_give_the_same_page(page: str, entries: list[Entry], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("what was here before", encoding="utf-8")
    write_report(path, "Three families on digits", entries, intro="What this is about.")
    assert path.read_text(encoding="utf-8") == page
    assert list(tmp_path.iterdir()) == [path]


def test_titles_cannot_break_out(entry: Callable[..., Entry], tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script>"
    write_report(tmp_path / "report.html", nasty, [entry("SE-ResNet", title=nasty), entry("DenseNet-BC")], intro=nasty)
    assert "<script>alert" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_that_has_not_ended_can_be_shown(unfinished: Entry, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", "Stopped", [unfinished])
    text = Elements((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "–" in text
    assert "stopped run/config.yaml'" in text


def test_no_runs_and_no_place_to_write(entry: Callable[..., Entry], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one"):
        write_report(tmp_path / "report.html", "Nothing", [])
    with pytest.raises(ConvwrightError, match="could not be written"):
        write_report(tmp_path / "nowhere" / "report.html", "Lost", [entry("SE-ResNet")])


def test_a_paper_is_linked_once_a_network(entry: Callable[..., Entry], tmp_path: Path) -> None:
    given = entry("SE-ResNet")
    bare = replace(given, run=replace(given.run, network=replace(given.run.network, papers=())))
    write_report(tmp_path / "report.html", "Two", [given, bare])
    links = Elements((tmp_path / "report.html").read_text(encoding="utf-8")).all("a")
    assert sum("arxiv" in (link["href"] or "") for link in links) == len(given.run.network.papers)
