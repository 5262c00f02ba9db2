"""Features of frozen backbones that training runs share: the last few in memory, and in a folder if one is given."""

from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from convwright.errors import ConvwrightError, warn
from convwright.files import digest_of, write_atomically

MAX_IN_MEMORY = 3
"""Data sets whose features are kept in memory at a time."""
MAX_BYTES_IN_MEMORY = 2**31
"""Most bytes of features in memory: the least recently used are forgotten first, and larger ones are not kept."""
MAX_BYTES = 2**30
"""Most bytes of features in a folder: the oldest are removed first, and larger features are not written."""
PARTS = ("train", "val")

Pixels = tuple[torch.Tensor, torch.Tensor]
"""Features of the training and of the validation images, N x C x 1 x 1 each."""


class FeatureCache:
    """Features by the digest of the backbone and the images that they were computed from.

    Args:
        folder: Folder for the features; None keeps them in memory alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._in_memory: OrderedDict[str, Pixels] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        """Return whether there are features of this key, in memory or in the folder."""
        return key in self._in_memory or (self.folder is not None and self._file(self.folder, key).is_file())

    def get(self, key: str) -> Pixels | None:
        """Return the features of a key; None if there are none, or their file is damaged."""
        found = self._in_memory.get(key)
        if found is None and self.folder is not None:
            found = _read(self._file(self.folder, key))
        if found is not None:
            self._keep(key, found)
        return found

    def put(self, key: str, features: Pixels) -> None:
        """Keep features, in the folder too where they fit."""
        self._keep(key, features)
        size = _size(features)
        if self.folder is None or size > MAX_BYTES:
            return
        with suppress(ConvwrightError, OSError, SafetensorError):  # without the file, a resumed run computes them again
            self.folder.mkdir(exist_ok=True)
            oldest = sorted(self.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
            while oldest and size + sum(path.stat().st_size for path in oldest) > MAX_BYTES:
                oldest.pop(0).unlink(missing_ok=True)
            content = dict(zip(PARTS, features, strict=True))
            metadata = {"digest": _digest(features)}
            write_atomically(self._file(self.folder, key), lambda path: save_file(content, path, metadata))

    def _keep(self, key: str, features: Pixels) -> None:
        self._in_memory[key] = features
        self._in_memory.move_to_end(key)
        while len(self._in_memory) > MAX_IN_MEMORY or sum(map(_size, self._in_memory.values())) > MAX_BYTES_IN_MEMORY:
            self._in_memory.popitem(last=False)

    def _file(self, folder: Path, key: str) -> Path:
        return folder / f"{key}.safetensors"


def _size(features: Pixels) -> int:
    return sum(each.numel() * each.element_size() for each in features)


def _digest(features: Pixels) -> str:
    return digest_of(*(each.contiguous().numpy().tobytes() for each in features))


def _read(path: Path) -> Pixels | None:
    """Return the features in a file; None if there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            features = file.get_tensor(PARTS[0]), file.get_tensor(PARTS[1])
            if (file.metadata() or {}).get("digest") == _digest(features):
                return features
    except (SafetensorError, OSError):
        pass
    warn(f"{path} is damaged; the features are computed again")
    with suppress(OSError):
        path.unlink()
    return None
