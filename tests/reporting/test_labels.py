from hypothesis import given
from hypothesis import strategies as st

from convwright.reporting.labels import Box, Dot, _box, _marks, place_names, wrapped

X_RANGE, Y_RANGE = (0.0, 10.0), (0.0, 1.0)


@st.composite
def dots(draw: st.DrawFn) -> Dot:
    y = draw(st.floats(0.05, 0.95))
    spread = draw(st.floats(0, 0.2))
    title = draw(st.text("abc d", min_size=1, max_size=40))
    return Dot(draw(st.floats(0, 10)), y, (max(0, y - spread), min(1, y + spread)), wrapped(title))


@given(st.lists(dots(), max_size=8))
def test_names_hide_nothing(points: list[Dot]) -> None:
    places = place_names(points, X_RANGE, Y_RANGE)
    assert len(places) == len(points)
    marks = [mark for dot in points for mark in _marks(dot, X_RANGE, Y_RANGE)]
    names: list[Box] = []
    for dot, place in zip(points, places, strict=True):
        if place is not None:
            box = _box(dot, place, X_RANGE, Y_RANGE)
            assert not any(box.meets(other) for other in (*names, *marks))
            assert box.left >= 0
            assert box.bottom >= 0
            names.append(box)


def test_a_name_stands_on_the_right_unless_the_edge_is_there() -> None:
    at = [Dot(x, 0.5, (0.4, 0.6), ["network"]) for x in (1.0, 9.5)]
    left, right = place_names(at, X_RANGE, Y_RANGE)
    assert left is not None
    assert right is not None
    assert (left.xanchor, right.xanchor) == ("left", "right")


def test_points_on_one_spot_are_not_all_named() -> None:
    places = place_names([Dot(5, 0.5, (0, 1), ["a" * 18])] * 12, X_RANGE, Y_RANGE)
    assert None in places


def test_long_titles_are_wrapped() -> None:
    assert wrapped("EfficientNet, compound-scaled") == ["EfficientNet,", "compound-scaled"]
    assert wrapped(" ") == [" "]
