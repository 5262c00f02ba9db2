"""A missing optional package is reported in one line with the command that installs it."""

import re
import tomllib
from pathlib import Path

import pytest

from convwright.errors import UsageError
from convwright.extras import EXTRAS, install_command, installed, missing_package, require_package
from convwright.options import checks_arguments

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
PACKAGES = {
    "mlflow": "mlflow-skinny",
    "sklearn": "scikit-learn",
}
"""Names under which pip knows modules, where they differ."""


@pytest.fixture
def nothing_optional(monkeypatch):
    """Make every optional package look as if it were not installed."""

    def find(name, *_):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("convwright.extras.import_module", find)
    monkeypatch.setattr("convwright.extras.find_spec", lambda _: None)


@pytest.mark.parametrize(
    ("module", "extra"),
    [("onnx", "deploy"), ("plotly.graph_objects", "report"), ("sqlalchemy", "studies"), ("ray", "cluster")],
)
def test_the_message_names_the_extra(module, extra, nothing_optional):
    package = module.partition(".")[0]
    with pytest.raises(UsageError) as raised:
        require_package(module, "this work")
    assert str(raised.value) == f"this work needs {package}: pip install 'convwright[{extra}]'"


def test_a_package_of_no_extra_is_installed_by_itself(nothing_optional):
    with pytest.raises(UsageError, match=r"^the engine abacus needs abacus: pip install abacus$"):
        require_package("abacus", "the engine abacus")


def test_a_package_that_cannot_be_loaded_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "brokenpackage.py").write_text("raise ImportError('libmissing.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("brokenpackage")
    with pytest.raises(UsageError, match="this work needs brokenpackage, which cannot be loaded here: libmissing"):
        require_package("brokenpackage", "this work")


def test_functions_of_the_library_report_missing_packages():
    @checks_arguments
    def draw(module: str) -> None:
        """Draw."""
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    with pytest.raises(UsageError, match=r"this needs jinja2: pip install 'convwright\[report\]'"):
        draw("jinja2")
    with pytest.raises(ModuleNotFoundError):
        draw("convwright.absent")


def test_other_errors_of_imports_are_not_changed():
    assert missing_package(ModuleNotFoundError("No module named 'abacus'", name="abacus")) is None
    assert missing_package(ImportError("cannot import name 'x' from 'onnx'", name="onnx")) is None
    assert missing_package(ModuleNotFoundError("no name")) is None


def test_every_module_is_in_the_extra_that_the_project_file_has_it_in():
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = {
        extra: {re.split(r"[\[<>=~! ;]", each)[0] for each in packages}
        for extra, packages in project["optional-dependencies"].items()
    }
    for extra, modules in EXTRAS.items():
        for module in modules:
            package = PACKAGES.get(module, module.replace("_", "-"))
            homes = {name for name, packages in extras.items() if package in packages and name != "dev"}
            assert extra in homes, f"{package} is in {homes or 'no extra'}, not in {extra}"
            assert install_command(module) == f"pip install 'convwright[{extra}]'"


def test_the_readme_lists_every_extra_with_its_packages():
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    text = (PROJECT.parent / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Extras\n")[2].partition("\n## ")[0]
    listed = {}
    for row in re.findall(r"^\| (`.+) \|$", section, re.MULTILINE):
        names, _, packages = row.split(" | ") if row.count(" | ") == 2 else (*row.split(" | "), "")
        cells = packages.split("; ") if packages.strip("| ") else [""] * names.count(",") + [""]
        listed |= zip(re.findall(r"`(\w+)`", names), cells, strict=True)
    assert listed.keys() == project["optional-dependencies"].keys()
    for extra, packages in project["optional-dependencies"].items():
        needed = {re.split(r"[\[<>=~! ;]", each)[0] for each in packages}
        inner = {
            name
            for each in packages
            if (found := re.match(r"convwright\[(.+)\]", each))
            for name in found[1].split(",")
        }
        if extra == "all":
            assert inner == listed.keys() - {"all", "docs", "test", "dev"}
        elif listed[extra] or extra not in ("docs", "test", "dev"):
            expected = needed - {"convwright"} | {f"`{name}`" for name in inner}
            assert set(listed[extra].split(", ")) == expected, extra
    assert EXTRAS.keys() == listed.keys() - {"all", "docs", "test", "dev"}
