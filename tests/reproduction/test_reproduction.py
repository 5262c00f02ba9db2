"""Every claim, what we compute for it, and its verdict: held as they are."""

import json
from pathlib import Path

import pytest

from convwright.errors import UsageError
from convwright.reproduction import PAPERS, Claim, Verdict, chapter, judge
from convwright.reproduction.claim import Difference
from convwright.reproduction.coefficients import published

HELD = json.loads(Path(__file__).with_name("verdicts.json").read_text(encoding="utf-8"))
"""By place, subject and quantity: printed, computed, verdict."""


@pytest.mark.parametrize("paper", PAPERS)
def test_every_verdict(paper: str) -> None:
    outcomes = chapter(paper)[1]
    told = {
        f"{o.claim.place} | {o.claim.subject} | {o.claim.quantity}": [o.claim.printed, o.computed, o.verdict.value]
        for o in outcomes
    }
    assert len(told) == len(outcomes), "two claims are called the same"
    assert told == HELD[paper]


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_wrong_and_whatever_differs_says_why(paper: str) -> None:
    for outcome in chapter(paper)[1]:
        assert outcome.verdict is not Verdict.WRONG, outcome
        if outcome.verdict is not Verdict.EQUAL:
            assert len(outcome.why) > 10, outcome


def judged(value: float, printed: str, difference: Difference | None = None) -> Verdict:
    return judge(Claim("here", "it", "size", printed, "", lambda: value, difference)).verdict


def test_a_verdict_can_be_any() -> None:
    assert judged(1.04, "1.0") is Verdict.EQUAL
    assert judged(1.06, "1.0") is Verdict.WRONG
    assert judged(1.06, "1.0", Difference("so", within=0.1)) is Verdict.EXPLAINED
    assert judged(1.06, "1.0", Difference("so", within=0.1, known=False)) is Verdict.OPEN
    assert judged(1.2, "1.0", Difference("so", within=0.1)) is Verdict.WRONG
    assert judged(1.2, "1.0", Difference("so", lambda: 1.01)) is Verdict.EXPLAINED
    assert judged(1.2, "1.0", Difference("so", lambda: 1.06)) is Verdict.WRONG
    assert judge(Claim("here", "it", "size", "1", "", None, Difference("why"))).verdict is Verdict.ELSEWHERE


def test_the_coefficients_of_b1_to_b7_are_explained_by_one_phi_each() -> None:
    found = published()
    assert [one.phi for one in found] == [0.5, 1, 2, 3.5, 5, 6, 7]
    for one in found[3:]:
        assert abs(one.depth_after_rounding / 1.2**one.phi - 1) < 0.08, one
        assert one.depth < 0.96 * 1.2**one.phi, "it is the coefficient, not the network, that stays behind"


def test_an_unknown_paper_is_named() -> None:
    with pytest.raises(UsageError, match="no paper 'alexnet'; there are densenet, senet, efficientnet"):
        chapter("alexnet")
