"""`convwright bench`."""


def bench() -> None:
    """To be written."""
