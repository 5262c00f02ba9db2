"""The studio from Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from convwright.errors import ArgumentError
from convwright.options import Bounds, checks_arguments


@checks_arguments
def studio(
    folder: str | Path = ".",
    *,
    allow: Sequence[str | Path] = (),
    host: str = "127.0.0.1",
    port: Annotated[int, Bounds(ge=0, le=65535)] = 8700,
    open_browser: bool = True,
    max_upload: Annotated[float, Bounds(gt=0, le=200)] = 20.0,
) -> None:
    """Open a local web application for networks, data, training, comparison and export.

    The address that is printed contains a token; without it the studio refuses every request. Runs that it starts
    continue when the page is closed and when the studio ends.

    Args:
        folder: Folder with images and runs. The studio reads and writes nothing outside it, apart from built-in data
            and Convwright's cache of decoded images; links are followed, and refused if they lead outside.
        allow: Further folder that the studio may read, such as that of images which runs in `folder` were trained on.
        host: Address to listen on; by default only this machine can connect.
        port: Port to listen on; 0: any that is free.
        open_browser: Whether to open the page in the browser.
        max_upload: Most megabytes of an image that is dropped on the page.

    Raises:
        ArgumentError: The folder does not exist, or the address cannot be used.
        UsageError: An optional package is missing.

    Example:
        >>> cw.studio("work", port=8700, open_browser=False)  # doctest: +SKIP
    """
    place = Path(folder)
    if not place.is_dir():
        raise ArgumentError("folder", f"{place}: there is no such folder; make it first or name another one")
    allowed = [Path(each) for each in ([allow] if isinstance(allow, str | Path) else allow)]
    for each in allowed:
        if not each.is_dir():
            raise ArgumentError("allow", f"{each}: there is no such folder; name one that exists")
    from convwright.extras import require_package

    for package in ("fastapi", "uvicorn"):
        require_package(package, "the studio")
    from convwright.studio_app.server import run_studio

    run_studio(place, allow=allowed, host=host, port=port, open_browser=open_browser, max_upload=max_upload)
