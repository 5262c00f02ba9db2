"""What bodies look like, for the OpenAPI description."""

from typing import Any

from pydantic import BaseModel, Field

from convwright.serving.problems import REASONS


class ClassProbability(BaseModel):
    """A class and its probability."""

    class_: str = Field(alias="class", examples=["shirt"])
    probability: float = Field(ge=0, le=1, examples=[0.93])


class ImagePrediction(BaseModel):
    """The classes of one image, most likely first."""

    file: str = Field(examples=["shirt.png"])
    predictions: list[ClassProbability]
    map: str | None = Field(None, description="With explain=1: PNG of the image under its map, in base64.")


class PredictionsBody(BaseModel):
    """The predictions of a request, in the order of its images."""

    model: str = Field(examples=["fashion"])
    predictions: list[ImagePrediction]


class Problem(BaseModel):
    """Why a request was refused."""

    status: int = Field(examples=[413])
    code: str = Field(examples=["too_many_pixels"])
    message: str = Field(examples=["big.png: more than 50 million pixels; send a smaller image"])


class ProblemBody(BaseModel):
    """A refusal."""

    error: Problem


class ModelFacts(BaseModel):
    """A model that is served."""

    name: str
    path: str
    engine: str
    classes: list[str]
    channels: int
    resolution: int | list[int]
    multi_label: bool
    explains: bool = Field(description="Whether explain=1 is possible.")
    batch_sizes: list[int] = Field(description="Batch sizes that change no bit of a prediction.")
    loaded: str


class ModelsBody(BaseModel):
    """All models that are served."""

    models: list[ModelFacts]


IMAGE_TEXT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""A PNG of one pixel."""
BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {
                    "images": {
                        "type": "array",
                        "items": {
                            "oneOf": [
                                {"type": "string", "description": "An image in base64."},
                                {
                                    "type": "object",
                                    "required": ["data"],
                                    "properties": {"name": {"type": "string"}, "data": {"type": "string"}},
                                },
                            ]
                        },
                    }
                },
            },
            "examples": {
                "texts": {"summary": "Images in base64", "value": {"images": [IMAGE_TEXT]}},
                "names": {"summary": "With names", "value": {"images": [{"name": "a.png", "data": IMAGE_TEXT}]}},
            },
        },
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
"""Body of a request for predictions."""


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of refusals with these statuses."""
    return {status: {"model": ProblemBody, "description": REASONS[status]} for status in statuses}
