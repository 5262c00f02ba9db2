"""The studio as an application: addresses, and what each of them calls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from convwright import json_text
from convwright.errors import ConvwrightError, UsageError
from convwright.extras import installed
from convwright.printable import printable
from convwright.studio_app import data_view, network_view, runs_view
from convwright.studio_app.explain_view import explain_photograph
from convwright.studio_app.folder import StudioFolder
from convwright.studio_app.gate import Gate
from convwright.studio_app.jobs import Jobs
from convwright.studio_app.page import page
from convwright.studio_app.tasks import Task, prepare

SECONDS = 1.0
"""Seconds between two checks of the files of runs."""
SANDBOX = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:"
)
"""Policy of pages in the folder: their scripts cannot use the studio's cookie or address."""


class _Runs(BaseModel):
    model_config = ConfigDict(extra="forbid")
    runs: list[str] = Field(max_length=100)


def application(
    root: Path, token: str, *, allow: Sequence[Path] = (), hosts: tuple[str, ...] = (), max_upload: float = 20.0
) -> Gate:
    """Return the application of a folder.

    Args:
        root: The folder.
        token: What the address must contain.
        allow: Further folders that may be read.
        hosts: Host names that the address may have; none: any.
        max_upload: Most megabytes of a request.
    """
    folder = StudioFolder(root.resolve(), tuple(path.resolve() for path in allow))
    jobs = Jobs(folder)
    app = FastAPI(title="Convwright studio", docs_url=None, redoc_url=None, openapi_url=None)
    _add_errors(app)
    _add_page(app, folder)
    _add_views(app, folder)
    _add_jobs(app, folder, jobs)
    return Gate(app, token, hosts, int(max_upload * 1e6))


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ConvwrightError)
    async def _failed(request: Request, error: ConvwrightError) -> Response:
        return JSONResponse({"error": printable(str(error))[:1000]}, 422 if isinstance(error, UsageError) else 500)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        first: dict[str, Any] = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "request"
        return JSONResponse({"error": f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}"}, 422)


def _add_page(app: FastAPI, folder: StudioFolder) -> None:
    own = files("convwright.studio_app") / "templates"

    @app.get("/")
    def _page() -> Response:
        return Response(page(folder.root.name), media_type="text/html")

    @app.get("/studio.css")
    def _style() -> Response:
        return Response((own / "studio.css").read_text(encoding="utf-8"), media_type="text/css")

    @app.get("/studio.js")
    def _script() -> Response:
        return Response((own / "studio.js").read_text(encoding="utf-8"), media_type="text/javascript")

    @app.get("/pages/{name:path}")
    def _own_page(name: str) -> Response:
        path = folder.path(name)
        if path.suffix != ".html" or not path.is_file():
            return JSONResponse({"error": "there is no such page"}, 404)
        return FileResponse(path, headers={"Content-Security-Policy": SANDBOX}, media_type="text/html")


def _add_views(app: FastAPI, folder: StudioFolder) -> None:
    @app.post("/api/network")
    def _network(question: network_view.NetworkQuestion) -> dict[str, object]:
        return network_view.show_network(question).to_dict()

    @app.get("/api/published")
    def _published() -> list[dict[str, object]]:
        return network_view.published()

    @app.post("/api/data")
    def _data(question: data_view.DataQuestion) -> dict[str, object]:
        return data_view.survey_data(folder, question).to_dict()

    @app.post("/api/augmented")
    def _augmented(question: data_view.AugmentQuestion) -> dict[str, object]:
        return data_view.show_augmented(folder, question).to_dict()

    @app.post("/api/compare")
    def _compare(question: _Runs) -> dict[str, object]:
        return runs_view.compare_runs(folder, question.runs).to_dict()

    @app.post("/api/explain")
    async def _explain(request: Request, model: str) -> dict[str, object]:
        content = await request.body()
        answer = await run_in_threadpool(explain_photograph, folder, model, content)
        return answer.to_dict()


def _add_jobs(app: FastAPI, folder: StudioFolder, jobs: Jobs) -> None:
    @app.post("/api/task")
    def _task(task: Task) -> dict[str, object]:
        return prepare(folder, task).answer().to_dict()

    @app.post("/api/start")
    def _start(task: Task) -> dict[str, object]:
        made = prepare(folder, task)
        (folder.root / made.result).parent.mkdir(parents=True, exist_ok=True)
        job = jobs.start(task.kind, made.arguments, made.result)
        return {**made.answer().to_dict(), "job": job.number}

    @app.post("/api/stop/{number}")
    def _stop(number: int) -> dict[str, object]:
        return asdict(jobs.stop(number))

    def state() -> dict[str, object]:
        listed = jobs.newest()
        running = [job.result for job in listed if job.state == "running"]
        return {
            "jobs": [asdict(job) for job in listed],
            "runs": runs_view.run_states(folder, running),
            "data": folder.datasets(),
            "models": folder.models(),
            "pages": folder.pages(),
            "curation": installed("cleanlab"),
        }

    @app.get("/api/state")
    def _state() -> dict[str, object]:
        return state()

    @app.get("/api/events")
    async def _events(request: Request) -> Response:
        async def events() -> AsyncIterator[str]:
            before = ""
            while not await request.is_disconnected():
                now = json_text.dump(await run_in_threadpool(state))
                yield f"data: {now}\n\n" if now != before else ": no change\n\n"
                before = now
                await asyncio.sleep(SECONDS)

        return StreamingResponse(events(), media_type="text/event-stream")
