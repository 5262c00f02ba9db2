"""Numbers and lists of names as sentences and figures show them."""

from collections import Counter
from collections.abc import Iterable, Sequence

from convwright.units import human, human_bytes

NBSP = "\u00a0"
SMALL_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def count(number: float) -> str:
    """Return a count in three digits, kept on one line: ``3.33 M``."""
    return human(number).replace(" ", NBSP)


def counted(number: float, noun: str, plural: str = "") -> str:
    """Return a count with its noun in the right number: ``1 image``, ``1,000 images``, ``2 classes``, ``0.5 epochs``.

    Args:
        number: The count; a fraction has up to six digits.
        noun: The noun for one.
        plural: The noun for any other count; by default with an s.
    """
    digits = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{digits} {noun if number == 1 else plural or f'{noun}s'}"


def times_fewer(ratio: float, noun: str) -> str:
    """Return how much smaller a number is than another: ``2.5 times fewer MACs``, or ``about as many MACs``.

    Args:
        ratio: The larger number divided by the smaller one, 1 or more.
        noun: What is counted, in the plural.
    """
    if ratio < 1.05:
        return f"about as many {noun}"
    if ratio < 1.95:
        return f"{1 - 1 / ratio:.0%} fewer {noun}".replace("%", f"{NBSP}%")
    return f"{f'{ratio:.1f}' if ratio < 9.95 else f'{ratio:,.0f}'} times fewer {noun}"


def size(number: float) -> str:
    """Return a number of bytes in three digits, kept on one line: ``39.9 kB``."""
    return human_bytes(number).replace(" ", NBSP)


def percent(share: float, sign: bool = True) -> str:
    """Return a share in percent with one decimal: ``97.2 %``."""
    return f"{100 * share:.1f}{NBSP}%" if sign else f"{100 * share:.1f}"


def interval(bounds: tuple[float, float]) -> str:
    """Return an interval of shares: ``93.0 to 98.9 %``."""
    return f"{percent(bounds[0], sign=False)} to {percent(bounds[1])}"


def milliseconds(seconds: float) -> str:
    """Return a short time in milliseconds, in three digits: ``1.25 ms``."""
    return f"{1000 * seconds:.3g}{NBSP}ms" if seconds < 0.9995 else f"{seconds:.3g}{NBSP}s"


def short_milliseconds(seconds: float) -> str:
    """Return a time in milliseconds without the unit, for a column: ``12.34``, or ``0.123`` where it is short."""
    milliseconds = 1000 * seconds
    return f"{milliseconds:.2f}" if milliseconds >= 1 else f"{milliseconds:.3f}"


def points(share: float) -> str:
    """Return a difference of shares in percentage points, with its sign: ``+0.4``."""
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")  # 0.0 is added since -0.0 has a sign


def points_between(bounds: tuple[float, float]) -> str:
    """Return an interval of differences in percentage points: ``−0.1 to +0.9``."""
    return f"{points(bounds[0])} to {points(bounds[1])}"


def p_value(p: float) -> str:
    """Return the result of a test: ``p = 0.03``, or ``p < 0.001``."""
    return f"p{NBSP}<{NBSP}0.001" if p < 0.001 else f"p{NBSP}={NBSP}{p:.2g}"


def shortened(name: str, longest: int) -> str:
    """Return a name of at most `longest` characters: ``a very lon…``."""
    return name if len(name) <= longest else f"{name[: longest - 1].rstrip()}…"


def all_shortened(names: Sequence[str], longest: int) -> list[str]:
    """Return names of at most `longest` characters each; those that would be alike keep their end: ``class…12``.

    Args:
        names: The names.
        longest: Most characters, 4 or more.
    """
    short = [shortened(name, longest) for name in names]
    alike = Counter(short)
    return [_with_end(name, longest) if alike[one] > 1 else one for name, one in zip(names, short, strict=True)]


def _with_end(name: str, longest: int) -> str:
    """Return the beginning and the end of a name that is too long."""
    if len(name) <= longest:
        return name
    end = longest // 2
    return f"{name[: longest - 1 - end].rstrip()}…{name[-end:].lstrip()}"


def duration(seconds: float) -> str:
    """Return a time in the units that suit its length: ``1 min 1 s``."""
    if seconds < 59.95:
        return f"{seconds:.1f}{NBSP}s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}{NBSP}min {rest}{NBSP}s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours}{NBSP}h {rest}{NBSP}min"


def rate(per_second: float) -> str:
    """Return a rate: ``1,063``, or ``4.2`` where it is low."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"


def listed(names: Iterable[str], last: str = "and") -> str:
    """Return names as a sentence lists them: ``A, B and C``."""
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def number_word(number: int) -> str:
    """Return a small number in letters, a larger one in digits."""
    return SMALL_NUMBERS[number] if number < len(SMALL_NUMBERS) else f"{number:,}"
