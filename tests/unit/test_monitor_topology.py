"""The drawing's geometry: nothing overlaps, nothing leaves the picture, whatever the nodes say of each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.topology import PILL_HEIGHT, Box, Drawing, tall, wide


@dataclass(frozen=True)
class N:
    name: str
    upstream: str = ""
    pill: str = "18.4 MB · 2 min 41 s"


PAIR = [N("pg1", pill=""), N("pg2", "pg1")]
CASCADE = [N("pg1", pill=""), N("pg2", "pg1"), N("pg3", "pg1"), N("pg4", "pg2"), N("pg5", "pg2")]


def box(drawing: Drawing, name: str) -> Box:
    return next(box for box in drawing.boxes if box.node.name == name)


def overlap(one: Box, other: Box) -> bool:
    return not (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


def test_the_primary_stands_left_and_cascades_go_on_to_the_right() -> None:
    drawing = wide(CASCADE)
    assert box(drawing, "pg1").x < box(drawing, "pg2").x == box(drawing, "pg3").x < box(drawing, "pg4").x


def test_a_parent_stands_at_the_middle_of_its_children() -> None:
    drawing = wide(CASCADE)
    assert box(drawing, "pg2").y == (box(drawing, "pg4").y + box(drawing, "pg5").y) / 2


def test_on_a_phone_who_follows_stands_below_and_indented() -> None:
    drawing = tall(CASCADE)
    names = [each.node.name for each in drawing.boxes]
    assert names == ["pg1", "pg2", "pg4", "pg5", "pg3"]
    assert box(drawing, "pg1").x < box(drawing, "pg2").x < box(drawing, "pg4").x
    assert drawing.width < 390


def test_each_wire_points_at_the_node_that_follows() -> None:
    for drawing in (wide(CASCADE), tall(CASCADE)):
        assert {wire.node.name for wire in drawing.wires} == {"pg2", "pg3", "pg4", "pg5"}
        for wire in drawing.wires:
            target = box(drawing, wire.node.name)
            x, y = map(float, wire.arrow.split()[0].split(","))
            assert (x, y) == (target.x, target.y + target.height / 2)


def test_nodes_that_follow_nobody_stand_side_by_side_without_a_wire() -> None:
    drawing = wide([N("a", pill=""), N("b", pill=""), N("c", pill="")])
    assert drawing.wires == ()
    assert box(drawing, "a").y == box(drawing, "b").y < box(drawing, "c").y


def test_a_cluster_without_nodes_is_an_empty_drawing() -> None:
    assert wide([]).boxes == tall([]).boxes == ()


def test_two_that_say_they_follow_each_other_are_drawn_all_the_same() -> None:
    for draw in (wide, tall):
        assert {each.node.name for each in draw([N("a", "b"), N("b", "a"), N("c", "c")]).boxes} == {"a", "b", "c"}


@pytest.mark.parametrize("draw", [wide, tall])
def test_a_pill_stands_clear_of_every_box(draw) -> None:
    drawing = draw(CASCADE)
    for wire in drawing.wires:
        pill = Box(wire.node, wire.pill_x, wire.pill_y, wire.width, PILL_HEIGHT)
        assert not any(overlap(pill, each) for each in drawing.boxes)


@given(st.lists(st.integers(-1, 11), min_size=1, max_size=12))
def test_whatever_follows_whatever_no_two_boxes_overlap_and_all_are_inside(upstreams: list[int]) -> None:
    nodes = [N(f"n{place}", f"n{upstream}" if upstream >= 0 else "") for place, upstream in enumerate(upstreams)]
    for drawing in (wide(nodes), tall(nodes)):
        assert sorted(each.node.name for each in drawing.boxes) == sorted(node.name for node in nodes)
        assert not any(overlap(one, other) for one, other in combinations(drawing.boxes, 2))
        for each in drawing.boxes:
            assert each.x >= 0
            assert each.y >= 0
            assert each.x + each.width <= drawing.width
            assert each.y + each.height <= drawing.height
