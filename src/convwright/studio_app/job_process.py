"""A process that runs one command of Convwright and records how it ended, whether or not the studio still runs."""

import signal
import subprocess
import sys
from pathlib import Path

from convwright import json_text
from convwright.scaling.process_identity import ProcessIdentity

PROCESS, STATUS = "process.json", "status.txt"


def main(record: Path, arguments: list[str]) -> int:
    """Run the command.

    Args:
        record: Folder of the record.
        arguments: Arguments of `convwright`.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the command ends, then this process
        signal.signal(number, lambda *_: None)
    (record / PROCESS).write_text(json_text.dump(ProcessIdentity.current().to_dict()), encoding="utf-8")
    status = subprocess.run([sys.executable, "-m", "convwright", *arguments], stdin=subprocess.DEVNULL).returncode
    (record / STATUS).write_text(str(status), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
