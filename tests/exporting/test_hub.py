"""Model cards beside files, and files on a small local copy of the Hugging Face Hub."""

import base64
import json
import os
import subprocess
import sys
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import yaml

import convwright as cw
from convwright.errors import ArgumentError
from convwright.prediction.hub import parse_address

pytest.importorskip("huggingface_hub")
pytest.importorskip("onnxruntime")

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """The requests with which files are pushed to one repository, listed and loaded."""

    files: dict[str, bytes] = {}  # noqa: RUF012 - shared by all requests of a test

    def log_message(self, *_):
        pass

    def reply(self, content=b"", status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        page = f"http://{self.headers['Host']}/me/digits"
        if self.path.endswith("/preupload/main"):
            paths = [each["path"] for each in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            return self.reply({"files": modes})
        if self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.reply(
                {"commitUrl": f"http://{self.headers['Host']}/me/digits/commit/{COMMIT}", "commitOid": COMMIT}
            )
        if self.path.endswith("/repos/create"):
            return self.reply({"url": page, "name": "me/digits", "id": "1"})
        return self.reply({"errors": [], "warnings": []})

    def do_GET(self):
        path = self.path.partition("?")[0]
        if "me/digits" not in path:
            return self.reply({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        if "/tree/" in path:
            return self.reply(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}
                    for name, content in self.files.items()
                ]
            )
        name = path.rpartition("/resolve/main/")[2]
        if name in self.files:
            content = self.files[name]
            return self.reply(content, ETag=f'"{sha1(content).hexdigest()}"', X_Repo_Commit=COMMIT)
        siblings = [{"rfilename": name} for name in self.files]
        return self.reply({"id": "me/digits", "modelId": "me/digits", "sha": COMMIT, "siblings": siblings, "tags": []})

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture
def hub(tmp_path):
    Hub.files = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_test"}
    server.shutdown()


def command(environment, folder, *words):
    arguments = [sys.executable, "-m", "convwright", *map(str, words)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_a_file_is_pushed_and_loaded(run, hub, tmp_path, photo):
    done = command(hub, tmp_path, "export", run, "--out", "digits.xml", "--push", "hf://me/digits", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pushed"] == "hf://me/digits"
    assert set(Hub.files) == {"digits.xml", "digits.bin", "README.md"}
    here, there = (
        command(hub, tmp_path, "predict", name, photo, "--json") for name in ("digits.xml", "hf://me/digits")
    )
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == json.loads(here.stdout)
    missing = command(hub, tmp_path, "predict", "hf://me/other", photo)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "hf://me/other" in missing.stderr
    Hub.files["second.onnx"] = b""
    several = command(hub, tmp_path, "predict", "hf://me/digits", photo)
    assert several.returncode == 2
    assert "name one of its exported files after it; there are: digits.xml, second.onnx" in several.stderr


@pytest.fixture
def photo(tmp_path):
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.linear_gradient("L").save(path)
    return path


def test_the_card_describes_the_file(run, tmp_path):
    done = cw.export(run, tmp_path / "digits.onnx", explain=True)
    assert done.model_card == tmp_path / "README.md"
    text = done.model_card.read_text()
    _, metadata, body = text.split("---\n", 2)
    found = yaml.safe_load(metadata)
    assert (found["library_name"], found["pipeline_tag"]) == ("convwright", "image-classification")
    assert "cifar_seresnet8" in found["tags"]
    for output in done.card.outputs:
        assert f"- Output `{output}`: " in body
    assert "further output" not in body
    assert f"{done.agreements['onnxruntime'].accuracy:.2%}" in body
    assert "INFERENCE_PRECISION_HINT" in body
    code = body.split("```python\n")[2].split("```")[0].replace("image.jpg", str(tmp_path / "image.png"))
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "image.png")
    names: dict[str, object] = {}
    exec(code.replace("digits.onnx", str(done.path)), names)
    assert names["probabilities"].sum() == pytest.approx(1)


def test_a_readme_of_somebody_else_stays(run, tmp_path):
    (tmp_path / "README.md").write_text("# My project\n")
    done = cw.export(run, tmp_path / "digits.onnx", images=10)
    assert done.model_card == tmp_path / "digits.onnx.README.md"
    assert (tmp_path / "README.md").read_text() == "# My project\n"


@pytest.mark.parametrize("wrong", ["digits", "hf://", "hf://me", "https://huggingface.co/me/digits", "hf://../x"])
def test_wrong_addresses_are_refused(wrong, run, tmp_path):
    with pytest.raises(ArgumentError, match=r"push: must be hf://user/name"):
        cw.export(run, tmp_path / "digits.onnx", push=wrong)
    assert list(tmp_path.iterdir()) == []


def test_addresses_have_a_repository_and_a_file():
    assert parse_address("hf://me/digits", "run") == ("me/digits", "")
    assert parse_address("hf://me/digits/8bit/a.onnx", "run") == ("me/digits", "8bit/a.onnx")
