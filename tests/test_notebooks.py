"""The notebooks of `examples/` run from top to bottom, each in a folder of its own."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = ["quickstart", "three-ideas", "design", "fine-tuning", "mistakes", "shipping"]
SHORTEST = "quickstart"
SHORTER = {
    "MINUTES = 0.5": "MINUTES = 0.05",
    "bench(seconds=0.5)": 'bench(seconds=0.05, engine="onnxruntime")',
    "count=6": "count=2",
}
"""Changes of durations and sizes in the shortest one, which every run of the tests executes."""
KINDS = ("text/html", "application/vnd.plotly.v1+json", "text/plain")
"""Forms of an output, from the richest to the plainest."""
SILENT = ("import ", "EPOCHS = ", "service.wait")
"""Cells with such a line may show nothing."""


def cells_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def executed(name, folder, monkeypatch, changes=None):
    """Run a notebook; return its cells of code."""
    jupytext = pytest.importorskip("jupytext")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("onnxruntime")
    for variable in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(folder / variable.lower()))
    notebook = jupytext.read(EXAMPLES / f"{name}.md")
    for cell in cells_of(notebook):
        for long, short in (changes or {}).items():
            cell.source = cell.source.replace(long, short)
    client.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return cells_of(notebook)


def shown_by(cell):
    """Return what a cell shows: HTML, else a plot of Plotly, else text."""
    outputs = [output.get("data", {}) for output in cell.outputs]
    shown = [next((str(each[kind]) for kind in KINDS if each.get(kind)), "") for each in outputs]
    return "".join(shown + [output.get("text", "") for output in cell.outputs])


def test_the_shortest_notebook_runs(tmp_path, monkeypatch):
    shown = [shown_by(cell) for cell in executed(SHORTEST, tmp_path, monkeypatch, SHORTER)]
    assert all("<" in html for html in shown[1:]), "every cell but the first shows something"
    assert "<progress" in shown[3], "training shows its progress"
    assert "data:image/png" in shown[1], "the data has a contact sheet"


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_runs(name, tmp_path, monkeypatch):
    for cell in executed(name, tmp_path, monkeypatch):
        assert shown_by(cell) or any(line in cell.source for line in SILENT), cell.source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_on_the_site_and_in_the_list(name):
    text = (EXAMPLES / f"{name}.md").read_text(encoding="utf-8")
    assert "jupytext" in text.partition("\n# ")[0], "the header by which Jupyter opens the file as a notebook"
    assert f"notebooks/{name}.md" in (EXAMPLES.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert f"({name}.md)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_every_notebook_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.md")} - {"README"} == set(NOTEBOOKS)
