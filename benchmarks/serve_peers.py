"""The services that `benchmarks/serve.py` compares with: `python benchmarks/serve_peers.py plain resnet18 none 8001`.

`plain` is FastAPI with the network in torch, an image at a time. `litserve` is LitServe with the network in torch and
batches; `litserve-file` is LitServe with the exported file that `convwright serve` has, in the same engine.
"""

import io
import sys
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import torch
from PIL import Image

import convwright as cw
from convwright.arch.resolution import sides

BATCH, WAIT = 8, 0.002


def pixels(text: str, height: int, width: int) -> torch.Tensor:
    """Return an image as such services read it: resized, 3 x H x W, 0 to 1."""
    image = Image.open(io.BytesIO(b64decode(text))).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255


class TorchNetwork:
    """The network in torch, as it is."""

    def __init__(self, network: str) -> None:
        described = cw.network(network)
        self.size = sides(described.resolution)
        self.module = cw.build(described, seed=0).eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def predict(self, images: list[str]) -> list[list[float]]:
        """Return the probabilities of images in base64."""
        batch = torch.stack([pixels(each, *self.size) for each in images])
        return self.module(batch.to(memory_format=torch.channels_last)).softmax(1).tolist()


class FileNetwork:
    """The exported file."""

    def __init__(self, file: Path) -> None:
        self.predictor = cw.load(file)

    def predict(self, images: list[str]) -> list[dict[str, Any]]:
        """Return the predictions of images in base64."""
        return [one.to_dict() for one in self.predictor.predict([io.BytesIO(b64decode(each)) for each in images])]


def plain(network: str, port: int) -> None:
    """Serve with FastAPI."""
    import uvicorn
    from fastapi import Body, FastAPI

    app, loaded = FastAPI(), TorchNetwork(network)

    @app.post("/predict")
    def predict(image: str = Body(embed=True)) -> dict[str, object]:
        return {"probabilities": loaded.predict([image])[0]}

    uvicorn.run(app, port=port, log_level="error")


class Service(litserve.LitAPI):
    """The service of LitServe, whose processes open the network."""

    make: Callable[[], Any]

    def setup(self, device: str) -> None:
        """Open the network."""
        self.loaded = self.make()

    def decode_request(self, request: dict[str, str]) -> str:
        """Return the image."""
        return request["image"]

    def batch(self, inputs: list[str]) -> list[str]:
        """Return images that are computed together."""
        return list(inputs)

    def predict(self, inputs: list[str]) -> list[Any]:
        """Compute the images of a batch."""
        return self.loaded.predict(inputs)

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Return the outputs of a batch one by one."""
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Return the body of an answer."""
        return {"output": output}


def with_litserve(make: Callable[[], Any], port: int) -> None:
    """Serve with LitServe."""
    service = Service(max_batch_size=BATCH, batch_timeout=WAIT)
    service.make = make
    litserve.LitServer(service, accelerator="cpu").run(port=port, host="127.0.0.1", generate_client_file=False)


def main() -> None:
    name, network, file, port = sys.argv[1:]
    if name == "plain":
        plain(network, int(port))
    elif name == "litserve":
        with_litserve(partial(TorchNetwork, network), int(port))
    else:
        with_litserve(partial(FileNetwork, Path(file)), int(port))


if __name__ == "__main__":
    main()
