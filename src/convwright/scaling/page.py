"""The page of a study."""

from pathlib import Path

from convwright.display.pages import write_html
from convwright.scaling.figures import study_figure
from convwright.scaling.findings import Findings


def page_title(findings: Findings) -> str:
    """Return the heading of a study's page."""
    kind = "A family over phi" if findings.is_family else "A search for alpha, beta and gamma"
    return f"{kind}: {findings.base}"


def write_scaling_page(path: Path, findings: Findings) -> None:
    """Write the page of a study as one self-contained file, completely or not at all.

    Args:
        path: The file; it is replaced if it exists.
        findings: What the study found.
    """
    write_html(
        path,
        "scaling.html.j2",
        title=page_title(findings),
        summary=findings.verdict,
        package="convwright.scaling",
        found=findings,
        measure="Accuracy" if findings.measure == "accuracy" else "mAP",
        shown=[study_figure(findings)],
    )
