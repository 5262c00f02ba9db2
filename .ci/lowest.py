"""Print the oldest version of every package that the core needs, as pip's requirements: `numpy==1.26`."""

import argparse
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[a-z,]+\])?>=(?P<lowest>[0-9.]+)(,.*)?")


def lowest(requirements: list[str]) -> dict[str, str]:
    """Return the lower bound of each package. ValueError for a requirement without one."""
    found = {}
    for requirement in requirements:
        match = REQUIREMENT.fullmatch(requirement)
        if match is None:
            raise ValueError(f"pyproject.toml: {requirement!r} has no lower bound such as numpy>=1.26")
        found[match["name"]] = match["lowest"]
    return found


def main() -> None:
    """Print one requirement a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--except", dest="omitted", nargs="*", default=[], metavar="NAME", help="Packages to omit.")
    omitted = parser.parse_args().omitted
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, version in lowest(project["dependencies"]).items():
        if name not in omitted:
            print(f"{name}=={version}")


if __name__ == "__main__":
    main()
