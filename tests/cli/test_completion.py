"""Shells complete commands, options, choices and names of networks by click's protocol."""

import os
import subprocess
import sys

import pytest


def completed(words: str, *, shell: str = "bash") -> list[str]:
    """What the shell is offered for the last of these words, which are typed after `convwright`."""
    typed = f"convwright {words}"
    environment = os.environ | {
        "_CONVWRIGHT_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1) if shell != "fish" else typed.rpartition(" ")[2],
    }
    done = subprocess.run(
        [sys.executable, "-c", "from convwright.cli.main import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_commands_are_completed():
    assert completed("mod") == ["plain,models"]
    assert "plain,explain" in completed("")
    assert "plain,cam" in completed("explain ")


def test_options_are_completed():
    assert "plain,--json" in completed("models --j")


def test_names_of_networks_are_completed():
    assert completed("show seresnet10") == ["plain,seresnet101", "plain,seresnet101_v1"]
    assert len(completed("show dense")) >= 4
    assert completed("show no_such_network") == ["file,no_such_network"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_completed(shell):
    text = "\n".join(completed("mod", shell=shell))
    assert "models" in text
    assert "List the networks" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell):
    done = subprocess.run(
        [sys.executable, "-c", "from convwright.cli.main import main; main()"],
        env=os.environ | {"_CONVWRIGHT_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "convwright" in done.stdout
    assert f"_CONVWRIGHT_COMPLETE={shell}_complete" in done.stdout
