"""The project's own files: dependencies, continuous integration and contracts are what other files rely on."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from convwright.designing.request import MIN_SECONDS
from convwright.extras import EXTRAS

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
VERSION = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[0]
"""The newest version, which may not be released yet."""
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def script(name: str) -> ModuleType:
    """Import a script of `.ci`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_complete_yaml(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["name"]
    assert workflow[True]  # YAML 1.1 reads the key `on` as true
    for name, job in workflow["jobs"].items():
        assert job["runs-on"], name
        assert job["timeout-minutes"] <= 120, name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), (name, step)


def test_every_system_and_python_is_tested_with_the_oldest_and_newest_versions():
    (path,) = (path for path in WORKFLOWS if path.stem == "test")
    matrix = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]["systems"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    classified = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert matrix["python"] == classified
    assert PROJECT["requires-python"] == f">={classified[0]}"
    assert {(each["os"], each["dependencies"]) for each in matrix["include"]} == {
        (system, "lowest") for system in matrix["os"]
    }


def test_scripts_and_targets_of_workflows_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        for script_path in re.findall(r"\.ci/[\w.]+", text):
            assert (ROOT / script_path).is_file(), script_path
        for target in re.findall(r"run: make ([\w-]+)", text):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_designs_in_workflows_have_the_time_they_need():
    texts = [path.read_text(encoding="utf-8").replace("\\\n", " ") for path in WORKFLOWS]
    minutes = [each for text in texts for each in re.findall(r"convwright (?:demo|design) .*?--minutes ([\d.]+)", text)]
    assert len(minutes) > 2
    assert min(map(float, minutes)) * 60 >= MIN_SECONDS


def test_every_dependency_has_a_lower_bound_and_no_upper_one():
    lowest = script("lowest").lowest(PROJECT["dependencies"])
    assert set(lowest) >= {"torch", "numpy", "click", "filelock"}
    assert not [text for text in PROJECT["dependencies"] if "<" in text]
    with pytest.raises(ValueError, match="no lower bound"):
        script("lowest").lowest(["numpy"])


def test_the_core_is_small_beside_torch():
    program = [sys.executable, str(ROOT / "benchmarks" / "install_size.py")]
    lines = subprocess.run(program, check=True, capture_output=True, text=True).stdout.splitlines()
    assert any(line.startswith("plotly ") for line in lines)
    name, size, unit = lines[-1].split()
    assert (name, unit) == ("sum", "MB")
    assert 50 < float(size) < 150


def test_extras_that_messages_name_exist():
    assert set(EXTRAS) <= set(PROJECT["optional-dependencies"])
    named = set(re.findall(r"[a-z]+", PROJECT["optional-dependencies"]["all"][0].partition("[")[2]))
    assert named == set(EXTRAS)


def test_the_core_is_light():
    heavy = {"scikit-learn", "scipy", "optuna", "sqlalchemy", "pandas", "onnx", "matplotlib"}
    assert not heavy & set(script("lowest").lowest(PROJECT["dependencies"]))


def test_tests_of_the_core_exist():
    core = script("core")
    for folder in core.FOLDERS:
        assert (ROOT / "tests" / folder).is_dir(), folder
    for name in core.FILES:
        assert (ROOT / "tests" / f"{name}.py").is_file(), name


def test_the_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION
    assert citation["license"] == PROJECT["license"]
    assert [each["name"] for each in citation["authors"]] == [each["name"] for each in PROJECT["authors"]]
    assert PROJECT["urls"]["Documentation"].startswith(citation["repository-code"])


def test_versions_without_git_are_earlier_than_the_newest_one():
    fallback = SETTINGS["tool"]["hatch"]["version"]["fallback-version"]
    assert fallback == f"{VERSION}.dev0"
    assert f'"{fallback}"' in (ROOT / "src" / "convwright" / "version.py").read_text(encoding="utf-8")


def test_security_fixes_are_made_for_this_minor_version():
    minor = VERSION.rpartition(".")[0]
    assert f"| {minor} | yes |" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/[!c]*.yml")), ids=lambda path: path.name)
def test_issue_templates_are_forms_of_github(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    assert {each["type"] for each in form["body"]} <= {"textarea", "input", "markdown", "dropdown", "checkboxes"}
    assert all(each["attributes"]["label"] for each in form["body"])


def test_hooks_before_a_commit_call_what_make_lint_calls():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in hooks:
        name = hook["entry"].split()[0].rpartition("/")[2]
        assert f"$(BIN)/{name}" in makefile, hook["id"]


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("benchmarks/results/*.json"), *ROOT.glob("docs/data/*.json")]),
    ids=lambda path: path.name,
)
def test_published_results_name_no_folder_of_a_machine(path):
    found = re.search(r"(?<![\w.])(~|/(home|tmp|root|work|Users|mnt|data))/", path.read_text(encoding="utf-8"))
    assert not found, found
