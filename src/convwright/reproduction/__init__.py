"""The living reproduction: what the three papers print, beside what our own networks give."""

from functools import cache

from convwright.errors import UsageError
from convwright.reproduction.claim import Chapter, Claim, Outcome, Verdict, judge, tally

PAPERS = ("densenet", "senet", "efficientnet")

__all__ = ["PAPERS", "Chapter", "Claim", "Outcome", "Verdict", "chapter", "judge", "tally"]


@cache
def chapter(paper: str) -> tuple[Chapter, tuple[Outcome, ...]]:
    """Return a paper's claims and what became of them. UsageError if it is not one of `PAPERS`."""
    from importlib import import_module

    if paper not in PAPERS:
        raise UsageError(f"no paper {paper!r}; there are {', '.join(PAPERS)}")
    found: Chapter = import_module(f"convwright.reproduction.{paper}").CHAPTER
    return found, tuple(judge(claim) for claim in found.claims)
