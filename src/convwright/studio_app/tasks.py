"""What the page can start: training, designs, exports, measurements and figures, as commands and Python lines."""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from convwright.errors import UsageError
from convwright.studio_app.answers import Answer
from convwright.studio_app.folder import StudioFolder, is_run
from convwright.studio_app.network_view import checked

Kind = Literal[
    "train", "resume", "design", "resume-design", "export", "bench", "reuse", "excitation", "label-errors", "report"
]


class Task(BaseModel):
    """A form of the page. Fields that a kind does not use must be empty."""

    model_config = ConfigDict(extra="forbid")
    kind: Kind
    data: str = Field("", max_length=400)
    network: str = Field("", max_length=400)
    run: str = Field("", max_length=400)
    runs: list[str] = Field([], max_length=12)
    model: str = Field("", max_length=400)
    budget: str = Field("", max_length=200, pattern=r"^[\w<>=., ]*$")
    minutes: float | None = Field(None, gt=0, le=10_000)
    epochs: float | None = Field(None, gt=0, le=10_000)
    name: str = Field("", max_length=64)
    int8: bool = False
    explain: bool = False


class Prepared(BaseModel):
    """A task as a command."""

    arguments: list[str]
    python: str
    result: str

    def answer(self) -> Answer:
        """Return the command and the lines of Python."""
        return Answer(command=self.arguments, python=self.python)


def prepare(folder: StudioFolder, task: Task) -> Prepared:
    """Return the command of a task, whose paths are in the folder.

    Raises:
        UsageError: A value is missing, wrong, or outside the folder.
    """
    return _KINDS[task.kind](folder, task)


def _train(folder: StudioFolder, task: Task) -> Prepared:
    folder.data(task.data)
    if task.minutes and task.epochs:
        raise UsageError("minutes and epochs: give one of them")
    options: dict[str, str | float] = {"data": task.data}
    if task.network:
        options["network"] = checked(task.network)
    options |= {"minutes": task.minutes} if task.minutes else {}
    options |= {"epochs": task.epochs} if task.epochs else {}
    options["out"] = _free(folder, "runs", task.name or "run")
    return Prepared(
        arguments=["train", *_flags(options)], python=_call("train", "", options), result=str(options["out"])
    )


def _resume(folder: StudioFolder, task: Task) -> Prepared:
    folder.run_with_data(task.run)
    return Prepared(arguments=["train", "--resume", task.run], python=f"cw.resume({task.run!r})", result=task.run)


def _design(folder: StudioFolder, task: Task) -> Prepared:
    folder.data(task.data)
    options: dict[str, str | float] = {"budget": task.budget} if task.budget.strip() else {}
    options |= {"minutes": task.minutes} if task.minutes else {}
    options["out"] = _free(folder, "designs", task.name or "design")
    code = _call("design", task.data, options)
    return Prepared(arguments=["design", task.data, *_flags(options)], python=code, result=str(options["out"]))


def _resume_design(folder: StudioFolder, task: Task) -> Prepared:
    folder.design(task.run)
    code = f"cw.design(resume={task.run!r})"
    return Prepared(arguments=["design", "--resume", task.run], python=code, result=task.run)


def _export(folder: StudioFolder, task: Task) -> Prepared:
    folder.run_with_data(task.run)
    out = _free(folder, "exports", task.name or task.run.rpartition("/")[2], ".onnx")
    chosen = [name for name in ("int8", "explain") if getattr(task, name)]
    code = f"cw.export({task.run!r}, {out!r}{''.join(f', {name}=True' for name in chosen)})"
    arguments = ["export", task.run, "--out", out, *(f"--{name}" for name in chosen)]
    return Prepared(arguments=arguments, python=code, result=out)


def _bench(folder: StudioFolder, task: Task) -> Prepared:
    if is_run(folder.model(task.model)):
        folder.run_with_data(task.model)
    out = _free(folder, "pages", "bench", ".html")
    code = f"cw.bench({task.model!r}).save_html({out!r})"
    return Prepared(arguments=["bench", task.model, "--html", out], python=code, result=out)


def _figure(command: str, function: str, *, reads_images: bool) -> Callable[[StudioFolder, Task], Prepared]:
    def prepare_figure(folder: StudioFolder, task: Task) -> Prepared:
        folder.run_with_data(task.run) if reads_images else folder.run(task.run)
        out = _free(folder, "pages", command, ".html")
        code = f"cw.explain.{function}({task.run!r}).save_html({out!r})"
        return Prepared(arguments=["explain", command, task.run, "--html", out], python=code, result=out)

    return prepare_figure


def _label_errors(folder: StudioFolder, task: Task) -> Prepared:
    folder.data(task.data)
    out = _free(folder, "pages", "labels", ".html")
    code = f"cw.curate({task.data!r}).save_html({out!r})"
    return Prepared(arguments=["data", task.data, "--deep", "--html", out], python=code, result=out)


def _report(folder: StudioFolder, task: Task) -> Prepared:
    if not task.runs:
        raise UsageError("choose at least one run")
    for run in task.runs:
        folder.run_with_data(run)
    out = _free(folder, "pages", "report", ".html")
    code = f"cw.report({task.runs!r}, {out!r})"
    return Prepared(arguments=["report", *task.runs, "--html", out], python=code, result=out)


_KINDS: dict[Kind, Callable[[StudioFolder, Task], Prepared]] = {
    "train": _train,
    "resume": _resume,
    "design": _design,
    "resume-design": _resume_design,
    "export": _export,
    "bench": _bench,
    "reuse": _figure("reuse", "reuse", reads_images=False),
    "excitation": _figure("excitation", "excitations", reads_images=True),
    "label-errors": _label_errors,
    "report": _report,
}


def _free(folder: StudioFolder, kind: str, name: str, suffix: str = "") -> str:
    """Return a path that does not exist: the name, or the name with a number."""
    for number in range(1, 1000):
        numbered = name if number == 1 else f"{name}-{number}"
        if not (folder.root / kind / f"{numbered}{suffix}").exists():
            return folder.relative(folder.new(kind, numbered, suffix))
    raise UsageError(f"{kind}/{name}{suffix}: there are too many of this name; choose another one")


def _flags(options: dict[str, str | float]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name}", _written(value))]


def _call(function: str, first: str, options: dict[str, str | float]) -> str:
    given = [repr(first)] if first else []
    given += [f"{name}={value!r}" if isinstance(value, str) else f"{name}={value:g}" for name, value in options.items()]
    return f"cw.{function}({', '.join(given)})"


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"
