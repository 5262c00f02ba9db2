"""What users install: the wheel holds every file that the package reads, and trains with fused kernels by itself."""

import os
import shutil
import site
import subprocess
import sys
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("hatchling")
pytest.importorskip("hatch_vcs")
ROOT = Path(__file__).parent.parent
TRAINING = ("--data", "digits", "--network", "cifar_resnet8|se:4", "--epochs", "0.2", "--seed", "0", "--fused")
GRADIENTS = """
import sys, torch, convwright as cw
from convwright.modules import build
from convwright.modules.fused.library import library

network = cw.network("cifar_resnet8|se:4|fit:8|channels:1")
images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
module = build(network, seed=0, fused=True).to(memory_format=torch.channels_last).train()
module(images).square().sum().backward()
torch.save([each.grad for each in module.parameters()], sys.argv[1])
names = ("kernels", "winograd", "pointwise", "depthwise")
half = [(torch.bfloat16, name) for name in ("kernels", "depthwise")]
print(*{library(*each)._name.split("/")[-2] for each in [*((torch.float32, name) for name in names), *half]})
"""
"""Writes the gradients of a training step and prints the folder of the kernels."""


def test_the_wheel_holds_code_templates_and_the_mark_of_types(tmp_path):
    packed = set(ZipFile(build(ROOT, "wheel", tmp_path)).namelist())
    source = ROOT / "src"
    there = {
        path.relative_to(source).as_posix()
        for path in (source / "convwright").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there <= packed, sorted(there - packed)
    assert "convwright/py.typed" in packed
    assert any(name.startswith("convwright/reporting/templates/") for name in packed)


def build(source: Path, kind: str, folder: Path) -> Path:
    """Build a distribution of one kind, `sdist` or `wheel`, and return it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = folder.iterdir()
    return found


def test_a_source_distribution_builds_the_wheel_of_its_version(tmp_path):
    archive = build(ROOT, "sdist", tmp_path / "sdist")
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel = build(unpacked, "wheel", tmp_path / "wheel")
    assert wheel.name == f"{archive.name.removesuffix('.tar.gz')}-py3-none-any.whl"
    version = ZipFile(wheel).read("convwright/_version.py").decode()
    assert f"'{archive.name.removesuffix('.tar.gz').removeprefix('convwright-')}'" in version


def test_sources_without_git_build_a_wheel(tmp_path):
    sources = tmp_path / "sources"  # what the Dockerfile copies
    written = shutil.ignore_patterns("__pycache__", "_version.py")
    shutil.copytree(ROOT / "src", sources / "src", ignore=written)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    wheel = build(sources, "wheel", tmp_path / "wheel")
    fallback = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["version"]
    assert wheel.name == f"convwright-{fallback['fallback-version']}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The Python of an environment that has the wheel with kernels, and the other packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"HATCH_BUILD_HOOK_ENABLE_CUSTOM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    assert wheel.stem.split("-")[-3:-1] == ["py3", "none"]
    assert wheel.stem.split("-")[-1] != "any"
    venv.create(folder / "environment")
    python = folder / "environment" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    (packages,) = (folder / "environment").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(
        "\n".join(site.getsitepackages()) + "\n"
    )  # searched after the environment's own
    return python


def run_python(python: Path | str, arguments: Sequence[str], folder: Path, **variables: str) -> str:
    """Run Python without the settings of this process, except for those given."""
    done = subprocess.run(
        [str(python), *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("g++"), reason="kernels are built on Linux with g++"
)


@pytest.mark.slow
@needs_compiler
def test_an_installed_wheel_trains_fused_without_a_compiler_as_with_one(installed, tmp_path):
    alone = {"PATH": str(tmp_path / "no programs"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    train = ["-m", "convwright", "train", *TRAINING, "--out"]
    run_python(installed, [*train, "wheel"], tmp_path, **alone)
    assert not [*(tmp_path / "cache").rglob("*.so")]
    compiling = alone | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
    run_python(sys.executable, [*train, "compiled"], tmp_path, **compiling)
    assert [*(tmp_path / "cache").rglob("*.so")]
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("wheel", "compiled"))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@needs_compiler
def test_kernels_for_every_processor_compute_the_same(installed, tmp_path):
    alone = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    available = torch.backends.cpu.get_cpu_capability().lower()
    levels = {"default": "baseline", "avx2": "avx2", "avx512": "avx512"}
    found = {}
    for capability, folder in levels.items():
        if capability == "default" or available in (capability, "avx512"):
            used = run_python(
                installed, ["-c", GRADIENTS, capability], tmp_path, ATEN_CPU_CAPABILITY=capability, **alone
            )
            assert used.split() == [folder]
            found[capability] = torch.load(tmp_path / capability)
    for gradients in found.values():
        for one, other in zip(gradients, found["default"], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
