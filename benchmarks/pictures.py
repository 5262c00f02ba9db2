"""The README's pictures of a report, taken in Chromium.

convwright report demo/race/0-00 demo/race/0-01 demo/race/0-02 --html report.html
python benchmarks/pictures.py report.html
"""

import argparse
import importlib.util
import io
import tempfile
from pathlib import Path
from types import ModuleType

from PIL import Image

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 1400, 1470
SHARE = 0.75
"""Of its size on the screen, at which a picture is kept."""
LARGEST = 290_000
"""Bytes of a picture; a larger one is kept in fewer colours."""
ONLY = """
document.querySelector('header').remove();
for (const section of document.querySelectorAll('section, footer, noscript')) {
  const heading = section.querySelector('h2');
  if (!heading || !['cam', 'reuse-1', 'excitation'].includes(heading.id)) section.remove();
}
document.querySelectorAll('figcaption').forEach((caption) => caption.remove());
document.querySelectorAll('section').forEach((section) => { section.style.marginTop = '2rem'; });
document.body.style.padding = '0 1.5rem 1.5rem';
"""
"""Leaves what `convwright.explain` found, without captions."""


def browser() -> ModuleType:
    """Load the tests' Chromium."""
    spec = importlib.util.spec_from_file_location("chromium", ROOT / "tests" / "chromium.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save(screen: bytes, path: Path, height: int) -> None:
    picture = Image.open(io.BytesIO(screen)).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(height, picture.height)))
    picture = picture.resize((round(SHARE * picture.width), round(SHARE * picture.height)), Image.Resampling.LANCZOS)
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        picture.quantize(256, kmeans=4, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {picture.width} x {picture.height} pixels, {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the page that `convwright report` wrote")
    page = parser.parse_args().page.absolute()
    images = ROOT / "docs" / "images"
    with browser().Browser() as window, tempfile.TemporaryDirectory() as scratch:
        screen = Path(scratch) / "screen.png"
        window.open(page, WIDTH, HEIGHT)
        window.screenshot(screen)
        save(screen.read_bytes(), images / "demo.png", HEIGHT)
        window.run(ONLY)
        window.settle()
        window.screenshot(screen)
        save(screen.read_bytes(), images / "demo-explained.png", window.run("document.documentElement.scrollHeight"))


if __name__ == "__main__":
    main()
