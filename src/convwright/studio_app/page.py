"""The page of the studio."""

from convwright.display.pages import environment
from convwright.studio_app.network_view import published


def page(name: str) -> str:
    """Return the page, whose script asks for everything else.

    Args:
        name: Name of the folder.
    """
    names = sorted(str(each["name"]) for each in published())
    return (
        environment("convwright.studio_app")
        .get_template("studio.html.j2")
        .render(title=f"Studio: {name}", summary="", plotly="", networks=names)
    )
