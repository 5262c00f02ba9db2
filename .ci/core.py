"""Run the tests of the core: those that need no extra but `test`. Extras that are installed are hidden from them.

Further arguments go to pytest: `python .ci/core.py -x`. The tests that are left out need an engine, a database, a
browser or another package to compare with; `make test` runs all.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("arch", "zoo", "stats", "data", "modules", "training", "prediction", "evaluation")
FILES = (
    *("test_checksums", "test_files", "test_finite", "test_imports", "test_json_text", "test_locks", "test_machine"),
    *("test_printable", "test_project", "test_public", "cli/test_completion", "cli/test_data", "cli/test_evaluate"),
    *("cli/test_help", "cli/test_models", "cli/test_output", "cli/test_places", "cli/test_predict", "cli/test_show"),
)


def main() -> int:
    """Run the tests and return pytest's exit status."""
    chosen = [ROOT / "tests" / folder for folder in FOLDERS] + [ROOT / "tests" / f"{file}.py" for file in FILES]
    paths = [str(path) for path in chosen if path.exists()]
    environment = os.environ | {"CONVWRIGHT_TESTS": "core"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *sys.argv[1:], *paths], cwd=ROOT, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
