"""Reproduction: the figures that three papers print, beside those of our own networks."""

from convwright.reproduction.claim import Claim, Outcome, PaperClaims, Verdict, judge, tally
from convwright.reproduction.result import PAPERS, PaperOutcomes, Reproduction, outcomes_of, reproduce_papers

__all__ = [
    "PAPERS",
    "Claim",
    "Outcome",
    "PaperClaims",
    "PaperOutcomes",
    "Reproduction",
    "Verdict",
    "judge",
    "outcomes_of",
    "reproduce_papers",
    "tally",
]
