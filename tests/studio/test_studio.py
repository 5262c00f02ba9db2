"""The studio in this process: every address, wrong input, and what must not be read or written."""

import io
import json
import shutil
import time

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient
from PIL import Image

import convwright as cw
from convwright.studio_app.application import application
from convwright.studio_app.folder import StudioFolder
from convwright.studio_app.jobs import Jobs

from ..subjects import trained_run

TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with two runs, a folder of images, a page, and secrets beside it."""
    outer = tmp_path_factory.mktemp("outer")
    root = outer / "work"
    for name in ("first", "second", "third"):
        shutil.copytree(trained_run(), root / "runs" / name)
    for label, colour in (("dark", 10), ("light", 240)):
        for number in range(12):
            path = root / "photos" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (12, 12), colour + number % 5).save(path)
    (root / "page.html").write_text("<p>page</p>")
    (outer / "secret.html").write_text("secret")
    (root / "link.html").symlink_to(outer / "secret.html")
    shutil.copytree(trained_run(), outer / "run")
    return root


def client_of(root, token=TOKEN, **options):
    client = TestClient(application(root, TOKEN, **options), follow_redirects=False)
    if token:
        client.get("/", params={"token": token})
    return client


@pytest.fixture(scope="module")
def client(root):
    return client_of(root)


def png():
    content = io.BytesIO()
    Image.new("L", (8, 8), 99).save(content, "PNG")
    return content.getvalue()


def test_without_the_token_everything_is_refused(root):
    client = client_of(root, token=None)
    for address in ("/", "/studio.js", "/api/state", "/api/events", "/pages/page.html", "/?token=wrong"):
        assert client.get(address).status_code == 401, address
    assert client.post("/api/network", json={"expression": "resnet18"}).status_code == 401
    first = client.get("/", params={"token": TOKEN})
    assert first.status_code == 303
    assert {"httponly", "samesite=strict"} <= set(first.headers["set-cookie"].lower().split("; "))
    assert client.get("/").status_code == 200


def test_other_host_names_are_refused(root):
    client = client_of(root, hosts=("127.0.0.1",))
    for host, status in (("evil.example:80", 403), ("127.0.0.1:80", 401)):
        assert client.get("/", headers={"host": host}).status_code == status


def test_every_response_has_a_policy_for_scripts(client):
    for address in ("/", "/api/state", "/nothing"):
        policy = client.get(address).headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
    page = client.get("/").text
    assert "<script>" not in page
    assert "onclick" not in page
    assert "//" not in page.replace("http://www.w3.org", "")  # nothing from other places


def test_a_network_has_the_operators_of_the_sliders(client):
    question = {"expression": "resnet50", "se": "16", "depth": 1.2, "width": 0.5, "resolution": 128, "classes": 10}
    answer = client.post("/api/network", json=question).json()
    expected = cw.cost("resnet50|se:16|scale:d=1.2,w=0.5|resolution:128|classes:10")
    assert (answer["params"], answer["macs"]) == (expected.params, expected.macs)
    assert sum(stage["macs"] for stage in answer["stages"]) == expected.macs
    assert "convwright show" in answer["command"]
    found = eval(answer["python"].splitlines()[-1], {"cw": cw})
    assert found.cost.params == expected.params


def test_the_zoo_is_listed_with_published_accuracies(client):
    listed = {each["name"]: each for each in client.get("/api/published").json()}
    assert listed["efficientnet_b4"]["top1"] == 82.9
    assert listed["densenet121"]["top1"] == pytest.approx(100 - 25.02)


@pytest.mark.parametrize(
    "expression", ["/etc/passwd", "../run", "network.json", "~", "", "no_such_network", "resnet18|se:x"]
)
def test_wrong_networks_are_refused_in_a_line(client, expression):
    response = client.post("/api/network", json={"expression": expression})
    assert response.status_code == 422
    assert "\n" not in response.json()["error"]


@pytest.mark.parametrize(
    "question",
    [{}, {"expression": "resnet18", "depth": 99}, {"expression": "resnet18", "more": 1}, {"expression": 3}, []],
)
def test_wrong_questions_are_refused_in_a_line(client, question):
    response = client.post("/api/network", json=question)
    assert response.status_code == 422
    assert list(response.json()) == ["error"]


def test_data_is_surveyed_and_augmented(client):
    survey = client.post("/api/data", json={"data": "photos"}).json()
    assert "dark" in survey["html"]
    assert "data:image/png;base64" in survey["html"]
    assert survey["command"] == "convwright data photos"
    shown = client.post("/api/augmented", json={"data": "photos", "rotation": 20}).json()
    assert shown["html"].count("<img") == 6 * 5
    assert shown["command"] == "convwright data photos --augment --rotation 20"


@pytest.mark.parametrize(
    "name", ["../run", "/etc", "runs/../..", ".", "", "photos/../../run", "--help", "a\0b", "nothing"]
)
def test_nothing_outside_the_folder_is_used(client, root, name):
    before = sorted(path.name for path in root.parent.iterdir())
    answers = [
        client.post("/api/data", json={"data": name}),
        client.post("/api/compare", json={"runs": ["runs/first", name]}),
        client.post("/api/explain", params={"model": name}, content=png()),
        client.post("/api/start", json={"kind": "train", "data": name}),
        client.post("/api/start", json={"kind": "export", "run": name}),
        client.post("/api/start", json={"kind": "resume-design", "run": name}),
        client.post("/api/start", json={"kind": "bench", "model": name}),
    ]
    assert [each.status_code for each in answers] == [422] * len(answers)
    assert sorted(path.name for path in root.parent.iterdir()) == before


def test_pages_are_those_of_the_folder(client):
    page = client.get("/pages/page.html")
    assert page.text == "<p>page</p>"
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in page.headers["content-security-policy"]
    for name in (
        "%2e%2e/secret.html",
        "..%2fsecret.html",
        "link.html",
        "runs/first/config.yaml",
        "/etc/passwd",
        "none.html",
    ):
        response = client.get(f"/pages/{name}")
        assert response.status_code in (404, 422), name
        assert "secret" not in response.text.replace("secret.html", "")


@pytest.mark.parametrize("name", ["../x", "a/b", "-x", "", " ", "a\nb", "x" * 65])
def test_names_of_new_runs_stay_in_the_folder(client, name):
    answer = client.post("/api/task", json={"kind": "train", "data": "digits", "name": name, "epochs": 1})
    assert answer.status_code == 422 if name else answer.json()["command"].endswith("--out runs/run")


def test_tasks_show_their_command_and_python(client):
    commands = {
        "train": {"data": "photos", "network": "cifar_resnet8|se:4", "epochs": 2, "name": "mine"},
        "design": {"data": "photos", "budget": "macs<=5M", "minutes": 3},
        "resume": {"run": "runs/first"},
        "export": {"run": "runs/first", "int8": True},
        "bench": {"model": "runs/first"},
        "reuse": {"run": "runs/first"},
        "excitation": {"run": "runs/first"},
        "label-errors": {"data": "photos"},
        "report": {"runs": ["runs/first", "runs/second"]},
    }
    for kind, fields in commands.items():
        answer = client.post("/api/task", json={"kind": kind, **fields}).json()
        assert answer["command"].startswith("convwright "), answer
        compile(answer["python"], kind, "exec")
    train = client.post("/api/task", json={"kind": "train", **commands["train"]}).json()
    assert train["command"] == (
        "convwright train --data photos --network 'cifar_resnet8|se:4' --epochs 2 --out runs/mine"
    )


def test_more_runs_than_two_are_compared(client):
    names = ["runs/third", "runs/first", "runs/second"]
    answer = client.post("/api/compare", json={"runs": [*names, "runs/first"]}).json()
    assert [run["run"] for run in answer["runs"]] == names
    assert all(name in answer["html"] for name in names)
    assert answer["command"] == f"convwright report {' '.join(names)} --html report.html"
    too_many = client.post("/api/compare", json={"runs": [f"runs/{number}" for number in range(9)]})
    assert too_many.status_code == 422
    assert "choose 2 to 8" in too_many.json()["error"]


def test_runs_are_compared(client):
    answer = client.post("/api/compare", json={"runs": ["runs/first", "runs/second"]}).json()
    score = cw.open_run(trained_run()).summary.score
    assert answer["html"].count(f"{score:.2%}") == 2
    assert [run["run"] for run in answer["runs"]] == ["runs/first", "runs/second"]
    assert all(run["curves"] for run in answer["runs"])
    assert client.post("/api/compare", json={"runs": ["runs/first"]}).status_code == 422


def test_a_photograph_is_predicted_as_by_predict(client):
    answer = client.post("/api/explain", params={"model": "runs/first"}, content=png()).json()
    with Image.open(io.BytesIO(png())) as image:
        expected = cw.predict(trained_run(), image, top=1)[0]
    assert str(expected.classes[0]) in answer["html"]
    assert 'class="map"' in answer["html"]
    assert answer["html"].count("similarity") == 6
    assert "--coverage 0.9" in answer["command"]


def test_what_is_no_image_is_refused(client):
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    for content in (b"", b"text", png()[:40], bomb.getvalue()):
        response = client.post("/api/explain", params={"model": "runs/first"}, content=content)
        assert response.status_code == 422
        assert "image" in response.json()["error"]


def test_large_uploads_are_refused(root):
    client = client_of(root, max_upload=0.001)
    response = client.post("/api/explain", params={"model": "runs/first"}, content=b"x" * 2000)
    assert response.status_code == 413
    chunks = client.post("/api/explain", params={"model": "runs/first"}, content=iter([b"x" * 2000]))
    assert chunks.status_code == 411


def test_the_state_lists_what_the_folder_has(client):
    state = client.get("/api/state").json()
    assert {run["run"] for run in state["runs"]} >= {"runs/first", "runs/second"}
    assert "photos" in state["data"]
    assert "page.html" in state["pages"]
    json.dumps(state, allow_nan=False)


def test_processes_go_on_without_the_studio(tmp_path):
    folder = StudioFolder(tmp_path)
    number = Jobs(folder).start("show", ["show", "cifar_resnet8"]).number
    end = time.monotonic() + 120
    while (job := Jobs(folder).newest()[0]).state == "running" and time.monotonic() < end:
        time.sleep(0.2)
    assert (job.number, job.state) == (number, "finished")
    assert "cifar_resnet8" in job.output
    with pytest.raises(cw.ConvwrightError, match="is not running"):
        Jobs(folder).stop(number)
