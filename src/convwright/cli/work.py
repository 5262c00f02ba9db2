"""`convwright scale work`: one more worker for a study, which `scale search --workers` starts by itself."""

import click

from convwright.errors import UsageError


@click.command("work")
@click.argument("folder")
@click.option("--cores", help="Processor cores to run on: 0,1.")
@click.option("--tied", is_flag=True, help="Stop when standard input ends.")
def work(folder: str, cores: str | None, tied: bool) -> None:
    """Train the remaining tasks of the study or the design in FOLDER, beside its other workers."""
    from pathlib import Path

    from convwright.designing.shared_race import work_on_race
    from convwright.designing.state import STATE
    from convwright.scaling.work_process import run_worker

    try:
        numbers = None if cores is None else [int(core) for core in cores.split(",")]
    except ValueError:
        raise UsageError(f"--cores: must be numbers of this machine's cores, such as 0,1, not {cores!r}") from None
    run_worker(Path(folder), numbers, tied, work_on_race if (Path(folder) / STATE).is_file() else None)
