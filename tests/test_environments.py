"""The examples that run exported files elsewhere give the answers of `predict`: Python alone, a browser, and C++."""

import base64
import functools
import http.server
import io
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import convwright as cw

from .chromium import EXECUTABLE, Browser
from .subjects import trained_run

pytest.importorskip("onnxruntime")
EXAMPLES = Path(__file__).parents[1] / "examples"
ALONE = "import runpy, sys; sys.modules['convwright'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
STAMPS = Path("/usr/share/tuxpaint/stamps")
COUNT = 100


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A photograph that lies on its side, one with transparency, and a grey one."""
    folder = tmp_path_factory.mktemp("images")
    one, other = (Image.fromarray(photo) for photo in load_sample_images().images)
    exif = Image.Exif()
    exif[0x0112] = 6
    one.resize((90, 50)).save(folder / "turned.jpg", exif=exif)
    other.putalpha(Image.linear_gradient("L").resize(other.size))
    other.resize((64, 150)).save(folder / "transparent.png")
    one.convert("L").save(folder / "grey.png")
    return sorted(folder.iterdir())


def ranked(output):
    """Return the classes and probabilities that an example printed."""
    pairs = [line.rsplit(" ", 1) for line in output.splitlines()]
    return [name for name, _ in pairs], [float(share) for _, share in pairs]


def test_python_needs_no_convwright(images, tmp_path):
    done = cw.export(trained_run(), tmp_path / "digits.onnx")
    predictor = cw.load(done.path, engine="onnxruntime")
    for image in images:
        words = [sys.executable, "-I", "-c", ALONE, EXAMPLES / "python" / "predict.py", done.path, image]
        found = subprocess.run(words, capture_output=True, text=True, check=True)
        classes, shares = ranked(found.stdout)
        expected = predictor.predict(image)
        assert classes == list(expected.classes)
        assert shares == pytest.approx(expected.probabilities, abs=2e-6)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The example in C++, compiled with the headers and the library of OpenVINO's Python package."""
    openvino = pytest.importorskip("openvino")
    if not (compiler := shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("there is no C++ compiler")
    package = Path(openvino.__file__).parent
    libraries = sorted((package / "libs").glob("libopenvino.so*"))
    if not libraries or not (package / "include").is_dir():
        pytest.skip("OpenVINO's package has no headers or no library here")
    program = tmp_path_factory.mktemp("cpp") / "predict"
    options = ["-std=c++17", f"-I{package / 'include'}", str(libraries[0]), f"-Wl,-rpath,{package / 'libs'}"]
    subprocess.run([compiler, EXAMPLES / "cpp" / "predict.cpp", "-o", program, *options], check=True)
    return program


def test_cpp_gives_the_same_answer(compiled, images, tmp_path):
    done = cw.export(trained_run(), tmp_path / "digits.xml")
    predictor = cw.load(done.path)
    for image in images:
        with Image.open(image) as opened:
            opened.convert("RGB").save(tmp_path / "image.ppm")
        found = subprocess.run(
            [compiled, done.path, tmp_path / "image.ppm"], capture_output=True, text=True, check=True
        )
        numbers, shares = ranked(found.stdout)
        expected = predictor.predict(tmp_path / "image.ppm")
        assert [predictor.classes[int(number)] for number in numbers] == list(expected.classes)
        assert shares == pytest.approx(expected.probabilities, abs=1e-3)


def test_cpp_reports_what_is_wrong(compiled, tmp_path):
    (tmp_path / "short.ppm").write_bytes(b"P6 4 4 255\nabc")
    done = cw.export(trained_run(), tmp_path / "digits.xml")
    for words, message in (
        ([], "predict FILE.xml IMAGE.ppm"),
        ([done.path, tmp_path / "short.ppm"], "it ends too early"),
        ([done.path, done.path], "not a PPM file"),
    ):
        found = subprocess.run([compiled, *words], capture_output=True, text=True, check=False)
        assert found.returncode == 1
        assert message in found.stderr


class Address:
    """An address in the place of a file."""

    def __init__(self, text):
        self.text = text

    def as_uri(self):
        """Return the address."""
        return self.text


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The example for browsers with onnxruntime-web, on a port of its own: its folder, and its address."""
    if not (npm := shutil.which("npm")) or EXECUTABLE is None:
        pytest.skip("there is no npm or no Chromium")
    folder = tmp_path_factory.mktemp("site") / "javascript"
    shutil.copytree(EXAMPLES / "javascript", folder, ignore=shutil.ignore_patterns("node_modules"))
    install = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    if subprocess.run(install, cwd=folder, capture_output=True, timeout=300, check=False).returncode:
        pytest.skip("onnxruntime-web cannot be installed here")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def photographs(count):
    """Return stamps on white and parts of photographs, in the sizes that they have."""
    files = sorted(STAMPS.rglob("*.png"))
    found = []
    for path in files[:: max(1, len(files) // count)][:count]:
        image = Image.open(path).convert("RGBA")
        found.append(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))
    generator, photos = np.random.default_rng(0), load_sample_images().images
    while len(found) < count:
        photo = photos[len(found) % len(photos)]
        top, left = (int(generator.integers(0, most - 40)) for most in photo.shape[:2])
        found.append(Image.fromarray(np.ascontiguousarray(photo[top:, left:])))
    return found


@pytest.mark.slow
def test_a_browser_gives_the_same_answers(site, tmp_path):
    folder, address = site
    cw.export("efficientnet_lite0", folder / "network.onnx", weights="pretrained")
    predictor = cw.load(folder / "network.onnx", engine="onnxruntime")
    pictures = photographs(COUNT)
    expected = predictor.predict(pictures, top=5)
    same, differences = [], []
    with Browser() as browser:
        browser.open(Address(address))
        end = time.monotonic() + 120
        while not browser.run("Boolean(window.predictBlob)"):
            assert time.monotonic() < end, browser.run("document.getElementById('state').textContent")
            time.sleep(0.1)
        for picture, right in zip(pictures, expected, strict=True):
            buffer = io.BytesIO()
            picture.save(buffer, "PNG")
            url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
            found = browser.run(f"fetch('{url}').then((data) => data.blob()).then(window.predictBlob)")
            shares = {one["label"]: one["probability"] for one in found}
            same.append(found[0]["label"] == right.label)
            differences += [abs(shares[label] - share) for label, share in right.ranked()]
        print(f"{COUNT} pictures: same class {np.mean(same):.1%}, probabilities within {max(differences):.1e}")
        assert all(same)
        assert max(differences) <= 1e-4
        assert browser.complaints == []
