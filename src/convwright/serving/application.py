"""The service as an ASGI application."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from convwright import json_text
from convwright.data.images import quiet
from convwright.engines.runner import cores
from convwright.errors import ConvwrightError
from convwright.prediction.outcomes import Prediction
from convwright.printable import printable
from convwright.serving import schemas
from convwright.serving.batching import Options
from convwright.serving.gate import FACTS, Gate
from convwright.serving.limits import Admission, ServiceLimits
from convwright.serving.logs import log
from convwright.serving.metrics import CONTENT_TYPE, Metrics
from convwright.serving.models import Models, ServedModel
from convwright.serving.page import page
from convwright.serving.problems import Refusal
from convwright.serving.uploads import Upload, read_pixels, read_uploads
from convwright.version import __version__

WATCH_SECONDS = 0.5
"""Seconds between two checks of the models' files."""
PNG = "image/png"
DESCRIPTION = 'Predictions of convolutional networks. Every refusal is `{"error": {status, code, message}}`.'

Top = Annotated[int | None, Query(ge=1, le=1000, description="Classes to return for each image; 3 by default.")]
Coverage = Annotated[
    float | None,
    Query(
        ge=0.5,
        le=0.99,
        description="Return a prediction set for each image: the classes that contain the true one in this share of "
        "cases (0.9: in 9 of 10), with calibrated probabilities.",
    ),
]
Explain = Annotated[
    bool,
    Query(
        description="Add map to each prediction: a PNG, in base64, of the image with the class activation map of its "
        "most likely class drawn over it."
    ),
]
ModelName = Annotated[str | None, Query(description="Name of the model; required if the service has several.")]


class Service:
    """The state of a service, and its responses.

    Args:
        models: The models.
        limits: Limits of the service.
        metrics: Counters of the service.
    """

    def __init__(self, models: Models, limits: ServiceLimits, metrics: Metrics) -> None:
        self.models, self.limits, self.metrics = models, limits, metrics
        self.admission = Admission(limits)
        self.pool = ThreadPoolExecutor(max(2, cores()), thread_name_prefix="convwright-images")
        self.ready = self.draining = False

    async def predict(
        self, request: Request, name: str | None, top: int | None, coverage: float | None, explain: bool
    ) -> Response:
        """Return the response to a request for predictions.

        Raises:
            Refusal: The request cannot be answered.
        """
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await self._predict(request, name, top, coverage, explain)
        except TimeoutError:
            raise Refusal(503, "timeout", f"the request took longer than {self.limits.timeout:g} s") from None
        except ConvwrightError as error:
            raise Refusal(500, "failed", printable(error)[:300]) from None

    async def _predict(
        self, request: Request, name: str | None, top: int | None, coverage: float | None, explain: bool
    ) -> Response:
        facts = request.scope.get(FACTS, {})
        with self.admission.request() as counter:
            self.metrics.waiting.set(self.admission.requests)
            try:
                model = self.models.find(name)
                with model.in_use():
                    facts["model"] = model.name
                    options = await self._options(model, top, coverage)
                    if explain and model.explainer is None:
                        text = f"explain: {model.name} has no class activation map; export it with --explain"
                        raise Refusal(422, "no_map", text)
                    uploads = await read_uploads(request, self.limits, counter)
                    facts["images"] = len(uploads)
                    with model.images_expected():
                        pixels = await asyncio.gather(*(self._in_pool(self._read, model, each) for each in uploads))
                        future = model.batcher.submit(pixels, options)
                    found = await asyncio.wrap_future(future)
                    maps = await self._maps(model, uploads, pixels, found) if explain else []
            finally:
                self.metrics.waiting.set(self.admission.requests - 1)
        if len(maps) == 1 and request.headers.get("accept") == PNG:
            return Response(maps[0], media_type=PNG)
        return json_response(_body(model, uploads, found, maps))

    async def _options(self, model: ServedModel, top: int | None, coverage: float | None) -> Options:
        if coverage is None:
            return model.options(top, None)
        checked: Options = await self._in_pool(model.options, top, coverage)
        return checked

    def _read(self, model: ServedModel, upload: Upload) -> Any:
        return read_pixels(model.predictor, upload, self.limits)

    async def _in_pool(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)

    async def _maps(
        self, model: ServedModel, uploads: list[Upload], pixels: list[Any], found: list[Prediction]
    ) -> list[bytes]:
        """Return a PNG of each image with the map of its most likely class drawn over it."""
        assert model.explainer is not None
        maps = []
        for upload, one, prediction in zip(uploads, pixels, found, strict=True):
            if not prediction.classes:
                text = f"explain: no class is predicted for {upload.name}, so there is nothing to map"
                raise Refusal(422, "no_map", text)
            index = model.predictor.classes.index(prediction.classes[0])
            maps.append(await self._in_pool(model.explainer, upload, one, index))
        return maps

    async def watch(self) -> None:
        """Reload models when their files change, for as long as the service runs."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                for name in await self._in_pool(self.models.changed):
                    await self._reload(name)
            except Exception as error:  # the next check may succeed
                log("watching failed", logging.ERROR, error=f"{type(error).__name__}: {printable(error)[:300]}")

    async def _reload(self, name: str) -> None:
        opened = await self._in_pool(self.models.reloaded, name)
        if opened is None:
            self.models.keep(name)
            log("reload failed", logging.ERROR, model=name, error=self.models.problems[name])
        else:
            self.models.replace(opened)
            log("reloaded", model=name)
        self.metrics.reloads.labels(name, "failed" if opened is None else "done").inc()

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Watch the files while the application runs."""
        with quiet():
            watching = asyncio.create_task(self.watch())
            self.ready = True
            try:
                yield
            finally:
                self.ready = False
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
                self.models.close()
                self.pool.shutdown(wait=False, cancel_futures=True)


def application(models: Models, limits: ServiceLimits, metrics: Metrics, token: str | None = None) -> "Application":
    """Return the ASGI application of a service.

    Args:
        models: The models.
        limits: Limits of the service.
        metrics: Counters of the service.
        token: Token that requests need; None: none.
    """
    service = Service(models, limits, metrics)
    app = FastAPI(
        title="Convwright",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=service.lifespan,
    )
    _add_predictions(app, service)
    _add_state(app, service)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _unknown_address)
    app.add_exception_handler(RequestValidationError, _wrong_options)
    return Application(Gate(app, metrics, token), service, app)


class Application:
    """The application behind its gate.

    Args:
        outer: The gate, which calls the application.
        service: The state of the service.
        app: The application itself.
    """

    def __init__(self, outer: ASGIApp, service: Service, app: FastAPI) -> None:
        self.outer, self.service, self.app = outer, service, app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, as ASGI describes it."""
        await self.outer(scope, receive, send)


def _add_predictions(app: FastAPI, service: Service) -> None:
    answers: dict[int | str, dict[str, Any]] = {
        200: {"model": schemas.PredictionsBody, "content": {PNG: {}}, "description": "The predictions."},
        **schemas.refusals(401, 404, 413, 415, 422, 429, 431, 500, 503),
    }
    extra = {"requestBody": schemas.BODY}

    @app.post("/predict", responses=answers, openapi_extra=extra, response_class=Response)
    async def predict(
        request: Request,
        model: ModelName = None,
        top: Top = None,
        coverage: Coverage = None,
        explain: Explain = False,
    ) -> Response:
        """Predict the classes of one image or of several."""
        return await service.predict(request, model, top, coverage, explain)

    @app.post("/models/{model}/predict", responses=answers, openapi_extra=extra, response_class=Response)
    async def predict_with(
        request: Request, model: str, top: Top = None, coverage: Coverage = None, explain: Explain = False
    ) -> Response:
        """Predict with the model of this name."""
        return await service.predict(request, model, top, coverage, explain)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/models", responses={200: {"model": schemas.ModelsBody}, **schemas.refusals(401)})
    async def models() -> Response:
        """List the models with their classes and engines."""
        problems = service.models.problems
        found = [
            model.to_dict() | ({"problem": problems[model.name]} if model.name in problems else {})
            for model in service.models
        ]
        return json_response({"models": found})

    @app.get("/health")
    async def health() -> Response:
        """Whether the process runs."""
        return json_response({"status": "running"})

    @app.get("/ready", responses=schemas.refusals(503))
    async def ready() -> Response:
        """Whether requests are answered: 503 while the service ends."""
        if not service.ready or service.draining:
            raise Refusal(503, "ending", "the service is ending")
        return json_response({"status": "ready", "models": len(service.models)})

    @app.get("/metrics", responses=schemas.refusals(401))
    async def metrics() -> Response:
        """Counters in Prometheus' format."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def docs(request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        return page(app.openapi(), [model.name for model in service.models], base)


def _body(model: ServedModel, uploads: list[Upload], found: list[Prediction], maps: list[bytes]) -> dict[str, object]:
    predictions: list[dict[str, object]] = []
    for place, (upload, prediction) in enumerate(zip(uploads, found, strict=True)):
        values = prediction.to_dict() | {"file": upload.name}
        if maps:
            values["map"] = b64encode(maps[place]).decode("ascii")
        predictions.append(values)
    return {"model": model.name, "predictions": predictions}


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value as a response of JSON in ASCII."""
    return Response(json_text.dump(value, ascii_only=True), status, headers, "application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    request.scope.get(FACTS, {})["code"] = error.code
    return Response(error.body(), error.status, error.headers(), "application/json")


async def _unknown_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        refusal = Refusal(405, "wrong_method", f"{request.method} does not apply to this address; see /docs")
    else:
        refusal = Refusal(404, "unknown_address", "there is nothing at this address; see /docs")
    return await _refused(request, refusal)


async def _wrong_options(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    texts = [f"{printable(each['loc'][-1])[:80]}: {printable(each['msg'])[:120]}" for each in error.errors()]
    return await _refused(request, Refusal(422, "wrong_option", "; ".join(texts[:5])))
