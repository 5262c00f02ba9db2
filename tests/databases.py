"""A PostgreSQL server for tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest


def postgres_programs():
    """Return the folder of PostgreSQL's server programs, or None."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@pytest.fixture(scope="session")
def postgres():
    """Start a PostgreSQL server of its own; give the URL of its database."""
    programs = postgres_programs()
    if programs is None:
        if "CI" in os.environ:
            pytest.fail("CI needs Debian's postgresql")
        pytest.skip("PostgreSQL is not installed")
    who = {"user": "postgres"} if os.geteuid() == 0 else {}  # the server refuses to be root
    folder = tempfile.mkdtemp(prefix="convwright-postgres-")
    if who:
        shutil.chown(folder, "postgres")
    try:
        quiet = {"check": True, "capture_output": True, "cwd": folder, **who}
        subprocess.run([programs / "initdb", "-D", f"{folder}/data", "-U", "tester", "-A", "trust"], **quiet)
        port = _free_port()
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        control = [programs / "pg_ctl", "-D", f"{folder}/data", "-w", "-t", "60"]
        # Its output must not go to a pipe that it would keep open.
        subprocess.run([*control, "-o", options, "-l", f"{folder}/log", "start"], check=True, cwd=folder, **who)
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
