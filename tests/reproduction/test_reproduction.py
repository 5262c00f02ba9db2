"""Every claim with its computed figure and its verdict, compared with those on file."""

import json
from pathlib import Path

import pytest

import convwright as cw
from convwright.errors import ArgumentError, UsageError
from convwright.reproduction import PAPERS, Claim, PaperOutcomes, Reproduction, Verdict, judge, outcomes_of
from convwright.reproduction.claim import Difference
from convwright.reproduction.coefficients import published

ON_FILE = json.loads(Path(__file__).with_name("verdicts.json").read_text(encoding="utf-8"))
"""By place, subject and quantity: printed, computed, verdict."""


@pytest.mark.parametrize("paper", PAPERS)
def test_every_verdict(paper: str) -> None:
    outcomes = outcomes_of(paper).outcomes
    found = {
        f"{o.claim.place} | {o.claim.subject} | {o.claim.quantity}": [o.claim.printed, o.computed, o.verdict.value]
        for o in outcomes
    }
    assert len(found) == len(outcomes), "two claims have the same name"
    assert found == ON_FILE[paper]


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_wrong_and_whatever_differs_says_why(paper: str) -> None:
    for outcome in outcomes_of(paper).outcomes:
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
        outcomes_of("alexnet")


def test_the_result_has_fields_text_html_json_and_a_figure(tmp_path: Path) -> None:
    found = cw.reproduce()
    assert [paper.key for paper in found.papers] == list(PAPERS)
    assert len(found.outcomes) == sum(found.counts.values()) == sum(map(len, ON_FILE.values()))
    assert found.wrong == ()
    claims = found.to_dict()["claims"]
    assert json.loads(found.to_json()) == claims
    assert isinstance(claims, list)
    assert {claim["paper"] for claim in claims} == {*PAPERS}
    assert str(cw.reproduce("SENet")).endswith(
        "33 claims: 12 equal, 16 explained, 3 not computable here, 2 not explained"
    )
    assert found._repr_html_().count("<tr>") > len(found.outcomes)
    titles = [axis.title.text for axis in (found.figure().layout.xaxis, found.figure().layout.xaxis2)]
    assert titles == ["multiply-adds an image, logarithmic", "parameters, logarithmic"]
    found.save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<th scope="row">') == len(found.outcomes)


def test_wrong_arguments_name_the_parameter() -> None:
    with pytest.raises(ArgumentError, match=r"^paper: no paper 'alexnet'"):
        cw.reproduce("alexnet")
    with pytest.raises(ArgumentError, match=r"^paper: must be text, not 3"):
        cw.reproduce(3)  # type: ignore[arg-type]


def test_a_wrong_figure_is_found() -> None:
    claim = Claim("here", "ResNet-50", "size", "1.0", "M", lambda: 2.0)
    found = Reproduction((PaperOutcomes("senet", "A paper", (judge(claim),)),))
    assert [outcome.claim.subject for outcome in found.wrong] == ["ResNet-50"]
