"""Shares of splits as options have them. Without torch."""

from convwright.options import Form


def parse_shares(value: object) -> tuple[float, ...]:
    """Read shares: a text such as "0.8,0.1,0.1", or a sequence of numbers.

    Returns:
        Two or three shares, whose sum is 1.

    Raises:
        ValueError: The value is none of these.
    """
    expected = "must be the shares of train, val and test, or of train and test, such as 0.8,0.1,0.1, whose sum is 1"
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    try:
        shares = [float(part) for part in parts]
    except (TypeError, ValueError):
        shares = []
    good = all(0 <= share < 1 for share in shares) and abs(sum(shares) - 1) < 1e-6
    if len(shares) not in (2, 3) or not good or not shares[0]:
        raise ValueError(f"{expected}; not {' '.join(repr(value).split()):.80}")
    return tuple(shares)


SHARES = Form("SHARES", parse_shares)
"""Description of options that take the shares of splits, as metadata of `typing.Annotated`."""
