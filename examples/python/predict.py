"""Predict with an exported file, without Convwright: python predict.py FILE.onnx IMAGE. Needs onnxruntime, Pillow."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
card = json.loads(session.get_modelmeta().custom_metadata_map["convwright"])
temperature = card.get("limits", {"temperature": 1})["temperature"]  # which calibrates the probabilities
image = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGBA")
pixels = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
(logits,) = session.run(["logits"], {"image": np.asarray(pixels)[None]})
raised = np.exp((logits[0] - logits[0].max()) / temperature)
shares = raised / raised.sum()
for index in np.argsort(-shares, kind="stable")[:5]:
    print(f"{card['classes'][index]} {shares[index]:.6f}")
