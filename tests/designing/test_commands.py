"""The commands of a dossier: the same design again, with every option."""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import convwright as cw
from convwright.cli.main import run as run_command
from convwright.data.opened import Data
from convwright.designing.commands import ablate_command, design_command
from convwright.designing.request import DesignRequest, RaceExecution
from convwright.scaling.budget import as_budget

from .test_failures import write_images

EXECUTIONS = (
    RaceExecution(),
    RaceExecution(workers=3),
    RaceExecution(cluster="ray://head:10001", cores_per_task=2),
    RaceExecution(storage="sqlite:///trials.db", study="photos"),
)


def requested(command: str, monkeypatch) -> DesignRequest:
    """Return the request that a command, or a call in Python, makes."""
    requests = []

    def keep(request: DesignRequest, **options: object) -> None:
        requests.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr("convwright.designing.design.design", keep)
    words = shlex.split(command)
    if words[0] == "python":
        with pytest.raises(KeyboardInterrupt):
            exec(words[2])
    else:
        assert words[0] == "convwright"
        run_command(words[1:])
    (request,) = requests
    return request


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(
    "options",
    [{}, {"label_column": "the kind"}, {"resize": "pad"}, {"val_share": 0.25, "resolution": (32, 48), "seed": 5}],
)
@pytest.mark.parametrize(("budget", "seconds"), [("macs<=12345678, latency<=3.1ms", 100.0), (None, 5400.0)])
def test_a_dossier_repeats_the_whole_request(options, budget, seconds, execution, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "my photos", cats=1, dogs=1)
    data = Data("my photos", **options)
    limits = None if budget is None else as_budget(budget)
    request = DesignRequest(data, limits, seconds, Path("a folder"), -3, "openvino", execution)
    study = None if execution.study is None else "photos-again"
    expected = replace(request, out=Path("a folder-again"), execution=replace(execution, study=study))
    assert requested(design_command(request), monkeypatch) == expected


def test_images_that_are_padded_need_no_python() -> None:
    request = DesignRequest(Data("photos", resize="pad"), None, 60.0, Path("out"))
    assert design_command(request).startswith("convwright design photos --resize pad ")


def test_a_dossier_shows_no_password() -> None:
    execution = RaceExecution(storage="postgresql://user:secret@host/database")
    request = DesignRequest(Data("photos"), None, 60.0, Path("out"), execution=execution)
    assert "secret" not in design_command(request)
    assert "postgresql://user:" in design_command(request)


def test_images_in_memory_need_python() -> None:
    data = cw.open_data(images=np.zeros((10, 8, 8), np.uint8), labels=[0, 1] * 5)
    request = DesignRequest(data, None, 60.0, Path("out"))
    assert design_command(request).startswith("cw.design(data, minutes=1, ")
    assert ablate_command(request, Path("network.json")).startswith(
        "cw.ablate(data, network='network.json', minutes=30)"
    )
