"""No address of the studio reads a file outside its folder, whatever leads there, unless the user allows the place."""

import io
import json
import os
import shutil
import sys
from typing import get_args

import pytest
import yaml

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient
from PIL import Image

from convwright.checksums import Checksums
from convwright.cli.main import run
from convwright.studio_app.application import application
from convwright.studio_app.tasks import Kind

from ..subjects import trained_run

TOKEN = "a-token-of-this-test"
LINKED_IMAGES = ("linked", "linked-class", "linked-image", "linked-twice")
OTHER_RUNS = ("runs/of-outside", "runs/of-list", "runs/of-home", "runs/of-up", "runs/of-link")
LINKED_RUNS = ("runs/linked", "runs/linked-weights", "runs/linked-network")
LINKED_FILES = ("linked.onnx", "parts.xml")
DESIGNS = ("designs/of-outside", "designs/linked")
NAMES = (
    *LINKED_IMAGES, *OTHER_RUNS, *LINKED_RUNS, *LINKED_FILES, *DESIGNS, "../photos", "/etc", ".", "",
    "photos/../../run", "--help", "a\0b", "nothing", "~", "hf:mnist",
)  # fmt: skip
TESTED = {
    "/", "/studio.css", "/studio.js", "/pages/{name:path}", "/api/network", "/api/published", "/api/data",
    "/api/augmented", "/api/compare", "/api/explain", "/api/task", "/api/start", "/api/stop/{number}", "/api/state",
    "/api/events",
}  # fmt: skip

watched: list[str] | None = None


def _watch(event, arguments):
    if watched is not None and event in ("open", "os.scandir", "os.listdir") and isinstance(arguments[0], str | bytes):
        watched.append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)  # cannot be removed; it does nothing unless a list is there


def images(folder):
    for label, colour in (("dark", 10), ("light", 240)):
        for number in range(12):
            path = folder / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (12, 12), colour + number).save(path)


def run_with(path, **fields):
    """Make a run whose configuration has other values, with their checksum."""
    shutil.copytree(trained_run(), path)
    config = path / "config.yaml"
    changed = yaml.safe_dump(yaml.safe_load(config.read_text()) | fields).encode()
    Checksums(path).write("config.yaml", changed)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder from which links, lists, runs and designs lead outside."""
    outer = tmp_path_factory.mktemp("outer")
    root = outer / "work"
    images(outer / "photos")
    images(root / "photos")
    shutil.copytree(trained_run(), outer / "run")
    (outer / "secret.html").write_text("secret")
    (root / "page.html").symlink_to(outer / "secret.html")
    (root / "linked").symlink_to(outer / "photos")
    for name in LINKED_IMAGES[1:]:
        images(root / name)
    shutil.rmtree(root / "linked-class" / "dark")
    (root / "linked-class" / "dark").symlink_to(outer / "photos" / "dark")
    (root / "linked-image" / "dark" / "x.png").symlink_to(outer / "photos" / "dark" / "1.png")
    (root / "linked-twice" / "more").symlink_to(root / "linked-class")
    rows = [f"../photos/{label}/{number}.png,{label}" for label in ("dark", "light") for number in range(12)]
    (root / "list.csv").write_text("\n".join(["path,label", *rows]))
    data = (outer / "photos", "list.csv", "~/photos", "../photos", "linked-class")
    for name, spec in zip(OTHER_RUNS, data, strict=True):
        run_with(root / name, data=str(spec))
    linked(root, outer)
    return root


def linked(root, outer):
    """Add runs, files and designs that are links, or have links."""
    (root / "runs" / "linked").symlink_to(outer / "run")
    for name, file in (("linked-weights", "model.safetensors"), ("linked-network", "network.json")):
        shutil.copytree(trained_run(), root / "runs" / name)
        (root / "runs" / name / file).unlink()
        (root / "runs" / name / file).symlink_to(outer / "run" / file)
    for name in ("linked.onnx", "parts.bin"):
        (outer / name).write_text("x")
        (root / name).symlink_to(outer / name)
    (root / "parts.xml").write_text("<net/>")
    state = {"schema_version": 1, "request": {"data": str(outer / "photos"), "data_options": {}}, "fingerprint": ""}
    lists = {key: [] for key in ("candidates", "left_out", "trials", "rounds", "decisions", "plans")}
    objects = {key: {} for key in ("winner", "shipped", "images", "speeds")}
    (root / "designs" / "of-outside").mkdir(parents=True)
    state |= lists | objects | {"race_began": None, "key": "k", "best": None}
    (root / "designs" / "of-outside" / "state.json").write_text(json.dumps(state))
    (root / "designs" / "linked").symlink_to(root / "designs" / "of-outside")


@pytest.fixture
def opened(root):
    """Return a function that lists what was opened outside the folder since the test began."""
    global watched
    watched = []
    outer = os.path.realpath(root.parent)

    def outside():
        found = {os.path.realpath(os.path.join(root, path)) for path in watched}  # noqa: PTH118
        return sorted(
            path for path in found if path.startswith(f"{outer}/") and not f"{path}/".startswith(f"{outer}/work/")
        )

    yield outside
    watched = None


def client_of(root, **options):
    client = TestClient(application(root, TOKEN, **options), follow_redirects=False)
    client.get("/", params={"token": TOKEN})
    return client


def png():
    content = io.BytesIO()
    Image.new("L", (8, 8), 99).save(content, "PNG")
    return content.getvalue()


def test_every_address_is_in_these_tests(root):
    assert {route.path for route in application(root, TOKEN).app.routes} == TESTED


@pytest.mark.parametrize("name", NAMES)
def test_nothing_outside_is_read(root, opened, monkeypatch, name):
    monkeypatch.chdir(root)
    client = client_of(root)
    before = sorted(path.name for path in root.parent.iterdir())
    for kind in get_args(Kind):
        fields = {"kind": kind, "data": name, "run": name, "model": name, "runs": [name]}
        answer = client.post("/api/task", json=fields)
        only_weights = kind == "reuse" and name in OTHER_RUNS
        no_images = kind in ("train", "design", "label-errors") and name in OTHER_RUNS
        assert answer.status_code == (200 if only_weights or no_images else 422), (kind, answer.text)
        if not (only_weights or no_images):
            assert client.post("/api/start", json=fields).status_code == 422
            assert "\n" not in answer.json()["error"]
    for address in ("/api/data", "/api/augmented"):
        answer = client.post(address, json={"data": name})
        assert answer.status_code in (422, 500), answer.text[:3000]
    compared = client.post("/api/compare", json={"runs": ["runs/of-up", name]})
    assert compared.status_code == (200 if name in OTHER_RUNS and name != "runs/of-up" else 422)
    explained = client.post("/api/explain", params={"model": name}, content=png())
    assert explained.status_code == (200 if name in OTHER_RUNS else 422)
    assert client.post("/api/network", json={"expression": name}).status_code == 422
    for page in (name, f"{name}/page.html", "page.html"):
        address = f"/pages/{page}".replace("\0", "%00")
        assert client.get(address).status_code >= 300, page
    assert opened() == []
    assert sorted(path.name for path in root.parent.iterdir()) == before


def test_lists_show_only_what_can_be_read(root, opened):
    state = client_of(root).get("/api/state").json()
    assert set(state["data"]) >= {"photos", "linked-image"}
    assert not {"linked", "linked-class"} & set(state["data"])
    assert "linked.onnx" not in state["models"]
    assert "page.html" not in state["pages"]
    states = {run["run"]: run["state"] for run in state["runs"]}
    assert "model.safetensors" in states["runs/linked-weights"]
    assert opened() == []


@pytest.mark.parametrize("name", OTHER_RUNS[:2])
def test_one_line_says_why_images_are_not_shown(root, name):
    answer = client_of(root).post("/api/explain", params={"model": name}, content=png()).json()
    assert "similarity" not in answer["html"]
    assert "coverage" not in answer["command"]
    assert f"{name}: " in answer["html"]
    assert f"start the studio with --allow {root.parent / 'photos'}" in answer["html"]


def test_places_that_are_allowed_are_read(root, opened, monkeypatch):
    monkeypatch.chdir(root)
    outside = str(root.parent / "photos")
    client = client_of(root, allow=[root.parent / "photos"])
    assert outside in client.get("/api/state").json()["data"]
    for name in (outside, "linked-class", "linked-image"):
        answer = client.post("/api/data", json={"data": name})
        assert "dark" in answer.json()["html"]
    assert client.post("/api/data", json={"data": str(root.parent / "run")}).status_code == 422
    for name in ("runs/of-outside", "runs/of-list", "runs/of-up"):
        assert client.post("/api/task", json={"kind": "excitation", "run": name}).status_code == 200, name
    assert client.post("/api/task", json={"kind": "resume-design", "run": "designs/of-outside"}).status_code == 200
    assert any("photos" in path for path in opened())  # so these tests can see what is read


def test_records_are_not_written_outside(root, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".convwright-studio").symlink_to(tmp_path)
    with pytest.raises(Exception, match="outside the studio's folder"):
        application(tmp_path / "work", TOKEN)


def test_a_place_that_does_not_exist_is_refused(root, capsys):
    assert run(["studio", str(root), "--allow", str(root / "none")]) == 2
    assert "--allow" in capsys.readouterr().err
