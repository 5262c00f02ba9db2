"""Images in the body of a request: multipart, JSON with base64, or the bytes of one image."""

import binascii
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from convwright import json_text
from convwright.data.images import reason
from convwright.errors import ConvwrightError, UsageError
from convwright.printable import printable
from convwright.serving.limits import BodyBytes, ServiceLimits
from convwright.serving.problems import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from convwright.prediction.base import BasePredictor

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA")
"""Accepted formats, by Pillow's names. EPS is not among them: Pillow decodes it with another program."""
JSON, MULTIPART, BYTES = "application/json", "multipart/form-data", "application/octet-stream"
NAME_LENGTH = 200
"""Maximum number of characters of an image's name in responses."""
IN_MEMORY = 2**40
"""Bytes from which on a part of a form would be written to disk: more than any body has, so that none is."""


class Upload(BytesIO):
    """The content of an image file, with a name for responses and messages."""

    def __init__(self, name: object, content: bytes) -> None:
        super().__init__(content)
        self.name = printable(name)[:NAME_LENGTH]


class _FormParser(MultiPartParser):
    spool_max_size = max_file_size = IN_MEMORY


async def read_uploads(request: "Request", limits: ServiceLimits, counter: BodyBytes) -> list[Upload]:
    """Return the images of a request.

    Args:
        request: The request.
        limits: Limits of the service.
        counter: Counts the bytes of the body.

    Raises:
        Refusal: The body is too large, of another type, cannot be read, or has no images.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (JSON, MULTIPART, BYTES) and not kind.startswith("image/"):
        raise Refusal(
            415,
            "unknown_type",
            f"the body has {f'the type {printable(kind)[:80]}' if kind else 'no Content-Type'}; send {MULTIPART}, "
            f"{JSON}, or the bytes of an image as image/* or {BYTES}",
        )
    _check_length(request, limits)
    body = await _body(request, counter)
    if kind == MULTIPART:
        found = await _from_form(request.headers, body, limits.images)
    else:
        found = _from_json(body, limits.images) if kind == JSON else [Upload("image", body)]
    if not found:
        raise Refusal(422, "no_images", "the body has no images; send at least one")
    return found


def read_pixels(predictor: "BasePredictor", upload: Upload, limits: ServiceLimits) -> Any:
    """Return the pixels of an image as the network reads them, decoded as `convwright predict` does.

    Raises:
        Refusal: The image has too many pixels, is damaged, or is no image.
    """
    _check_header(upload, limits)
    try:
        return predictor.decode(upload)
    except ConvwrightError as error:
        raise Refusal(422, "unreadable_image", str(error)) from None


def _check_header(upload: Upload, limits: ServiceLimits) -> None:
    """Check format and size of an image before its pixels are decoded."""
    try:
        with Image.open(BytesIO(upload.getbuffer()), formats=_formats()) as image:
            width, height = image.size
    except UnidentifiedImageError:
        known = ", ".join(FORMATS[:7])
        raise Refusal(415, "unknown_format", f"{upload.name}: not an image of a known format; send {known}") from None
    except Image.DecompressionBombError:
        raise _too_many_pixels(upload, limits) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise Refusal(422, "unreadable_image", f"cannot read {upload.name}: {printable(reason(error))}") from None
    if width * height > limits.most_pixels:
        raise _too_many_pixels(upload, limits)


@cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that the installed Pillow reads."""
    Image.init()
    return tuple(each for each in FORMATS if each in Image.OPEN)


def _too_many_pixels(upload: Upload, limits: ServiceLimits) -> Refusal:
    text = f"{upload.name}: more than {limits.pixels:g} million pixels; send a smaller image"
    return Refusal(413, "too_many_pixels", text)


def _check_length(request: "Request", limits: ServiceLimits) -> None:
    """Refuse a body by its declared size, before it is read."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limits.body_bytes:
        raise Refusal(413, "body_too_large", f"the body has more than {limits.body:g} MB; send smaller images")


async def _body(request: "Request", counter: BodyBytes) -> bytes:
    parts = []
    async for part in request.stream():
        counter.add(len(part))
        parts.append(part)
    return b"".join(parts)


async def _from_form(headers: Headers, body: bytes, max_images: int) -> list[Upload]:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    try:
        form = await _FormParser(headers, stream(), max_files=max_images, max_fields=0).parse()  # type: ignore[arg-type]
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise _too_many_images(max_images) from None
        text = f"the form cannot be read: {printable(error.message)[:200]}; send images as files"
        raise Refusal(422, "unreadable_body", text) from None
    except Exception as error:  # the parser raises errors of many kinds on bodies that are not forms
        text = f"the form cannot be read: {printable(error)[:200]}"
        raise Refusal(422, "unreadable_body", text) from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    return [Upload(file.filename or f"image {place}", await file.read()) for place, file in enumerate(files, 1)]


@dataclass(frozen=True)
class _JsonImage:
    """An image in a JSON body, whose values are not checked yet."""

    name: object
    data: object


def _from_json(body: bytes, max_images: int) -> list[Upload]:
    try:
        stored = json_text.parse(body, "the body")
    except UsageError as error:
        raise Refusal(422, "unreadable_body", printable(error)[:300]) from None
    given = stored.get("images") if isinstance(stored, dict) else None
    if not isinstance(given, list):
        text = 'the body must be {"images": ["BASE64", ...]} or {"images": [{"name": "a.png", "data": "BASE64"}, ...]}'
        raise Refusal(422, "unreadable_body", text)
    if len(given) > max_images:
        raise _too_many_images(max_images)
    return [_decoded(_json_image(item, f"image {place}")) for place, item in enumerate(given, 1)]


def _json_image(item: object, default_name: str) -> _JsonImage:
    if isinstance(item, dict):
        return _JsonImage(item.get("name", default_name), item.get("data"))
    return _JsonImage(default_name, item)


def _decoded(image: _JsonImage) -> Upload:
    if not isinstance(image.name, str) or not isinstance(image.data, str):
        text = "each image must be a base64 string, or an object with the strings name and data"
        raise Refusal(422, "unreadable_body", text)
    start, comma, _ = image.data[:200].partition(",")
    data = image.data[len(start) + 1 :] if comma and start.startswith("data:") else image.data
    try:
        return Upload(image.name, b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        text = f"{printable(image.name)[:NAME_LENGTH]}: the data is not valid base64"
        raise Refusal(422, "unreadable_body", text) from None


def _too_many_images(max_images: int) -> Refusal:
    text = f"a request may have at most {max_images} images; send the others in further requests"
    return Refusal(413, "too_many_images", text)
