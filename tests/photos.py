"""Real photographs, out of packages that ship some."""

import importlib.util
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_images

_foolbox = importlib.util.find_spec("foolbox")
PHOTOS = sorted(Path(_foolbox.origin).parent.glob("data/imagenet_*.jpg")) if _foolbox and _foolbox.origin else []
"""Twenty of ImageNet's validation images, their names ending in the number of their class."""


def temple_and_flower(root: Path) -> Path:
    """Make a folder of pieces of scikit-learn's two photographs, a class each."""
    for name, photo in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (root / name).mkdir()
        for index in range(24):
            top, left = 60 * (index // 8), 60 * (index % 8)
            Image.fromarray(photo[top : top + 160, left : left + 160]).save(root / name / f"{index:02d}.png")
    return root
