"""Where boxes, wires and pills of a cluster's drawing go. Pure geometry: columns for a wide page, a tree for a phone.

The arrow points the way the WAL flows: from the node that is followed to the one that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MARGIN = 10
BOX_HEIGHT = 104
ROW_GAP = 24
PILL_HEIGHT = 22
PILL_CHARACTER = 6.7
PILL_PADDING = 22
ROOMY = (250, 170)
NARROW = (226, 170)
"""Widths of (box, gap); from three columns on they are narrower."""
TREE_WIDTH = 340
TREE_INDENT = 30
TREE_TRUNK = 15
TREE_GAP = 44
ARROW = 8


class Drawn(Protocol):
    """A node: whom it follows ("" = nobody), and what stands on its wire ("" = no wire is drawn)."""

    @property
    def name(self) -> str: ...
    @property
    def upstream(self) -> str: ...
    @property
    def pill(self) -> str: ...


@dataclass(frozen=True)
class Box:
    node: Drawn
    x: float
    y: float
    width: float
    height: float = BOX_HEIGHT

    @property
    def left(self) -> float:
        return self.x + 16

    @property
    def after_shape(self) -> float:
        return self.x + 31

    @property
    def right(self) -> float:
        return self.x + self.width - 14

    @property
    def lines(self) -> tuple[float, ...]:
        """Baselines of its four lines of text."""
        return self.y + 27, self.y + 50, self.y + 71, self.y + 90

    @property
    def shape(self) -> tuple[float, float]:
        """Middle of the state's shape."""
        return self.x + 21, self.y + 46


@dataclass(frozen=True)
class Wire:
    """path ends where the arrow begins; arrow: points of its triangle; x, y, width: the pill, y its middle."""

    node: Drawn
    path: str
    arrow: str
    x: float
    y: float

    @property
    def width(self) -> float:
        return round(len(self.node.pill) * PILL_CHARACTER + PILL_PADDING, 1)

    @property
    def pill_x(self) -> float:
        return round(self.x - self.width / 2, 1)

    @property
    def pill_y(self) -> float:
        return self.y - PILL_HEIGHT / 2

    @property
    def text_y(self) -> float:
        return self.y + 4


@dataclass(frozen=True)
class Drawing:
    width: float
    height: float
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]


@dataclass(frozen=True)
class _Tree:
    """roots, and who follows whom; every node is in it once, whatever the upstreams say."""

    roots: tuple[Drawn, ...]
    children: dict[str, tuple[Drawn, ...]]


def wide(nodes: Sequence[Drawn]) -> Drawing:
    """Primary left, standbys right, cascades in further columns; a parent stands at the middle of its children."""
    tree = _tree(nodes)
    if not tree.children:
        return _side_by_side(nodes)
    depth = _depth(tree)
    columns = max(depth.values(), default=0) + 1
    width, gap = ROOMY if columns <= 2 else NARROW
    tops: dict[str, float] = {}
    bottom = float(MARGIN)
    for root in tree.roots:
        bottom = _place(root, tree, tops, bottom)
    boxes = {node.name: Box(node, MARGIN + depth[node.name] * (width + gap), tops[node.name], width) for node in nodes}
    wires = tuple(_curve(boxes[parent], boxes[child.name], place, len(children))
                  for parent, children in tree.children.items() for place, child in enumerate(children) if child.pill)  # fmt: skip
    total = 2 * MARGIN + columns * width + (columns - 1) * gap
    return Drawing(total, max(bottom - ROW_GAP, BOX_HEIGHT) + MARGIN, tuple(boxes.values()), wires)


def _side_by_side(nodes: Sequence[Drawn]) -> Drawing:
    """Nobody follows anybody yet: two columns, as it will be."""
    width, gap = ROOMY
    rows = -(-len(nodes) // 2)
    boxes = [
        Box(node, MARGIN + place % 2 * (width + gap), MARGIN + place // 2 * (BOX_HEIGHT + ROW_GAP), width)
        for place, node in enumerate(nodes)
    ]
    return Drawing(2 * MARGIN + 2 * width + gap, 2 * MARGIN + rows * (BOX_HEIGHT + ROW_GAP) - ROW_GAP, tuple(boxes), ())


def tall(nodes: Sequence[Drawn]) -> Drawing:
    """One under the other, who follows indented, for narrow screens."""
    stack = _Stack(_tree(nodes))
    for root in stack.tree.roots:
        stack.add(root, None)
    # of wires that share their trunk, the shorter one lies on top
    wires = tuple(reversed(stack.wires))
    return Drawing(TREE_WIDTH + 2 * MARGIN, max(stack.y - ROW_GAP, BOX_HEIGHT) + MARGIN, tuple(stack.boxes), wires)


def _tree(nodes: Sequence[Drawn]) -> _Tree:
    by_name = {node.name: node for node in nodes}
    roots = [node for node in nodes if not _is_below(node, by_name)]
    children: dict[str, tuple[Drawn, ...]] = {}
    for node in nodes:
        if node not in roots:
            children[node.upstream] = (*children.get(node.upstream, ()), node)
    return _Tree(tuple(roots), children)


def _is_below(node: Drawn, by_name: dict[str, Drawn]) -> bool:
    """Follows one of ours, and not itself in a circle."""
    seen = {node.name}
    upstream = node.upstream
    while upstream in by_name:
        if upstream in seen:
            return False
        seen.add(upstream)
        upstream = by_name[upstream].upstream
    return node.upstream in by_name


def _depth(tree: _Tree) -> dict[str, int]:
    depth = {root.name: 0 for root in tree.roots}
    ahead = list(tree.roots)
    while ahead:
        node = ahead.pop()
        for child in tree.children.get(node.name, ()):
            depth[child.name] = depth[node.name] + 1
            ahead.append(child)
    return depth


def _place(node: Drawn, tree: _Tree, tops: dict[str, float], top: float) -> float:
    """Sets the tops of a node and of all below it; returns where the next one may begin."""
    children = tree.children.get(node.name, ())
    if not children:
        tops[node.name] = top
        return top + BOX_HEIGHT + ROW_GAP
    bottom = top
    for child in children:
        bottom = _place(child, tree, tops, bottom)
    tops[node.name] = (tops[children[0].name] + tops[children[-1].name]) / 2
    return bottom


def _curve(parent: Box, child: Box, place: int, siblings: int) -> Wire:
    start_x, end_x = parent.x + parent.width, child.x - ARROW
    spread = min(16.0, parent.height / (siblings + 1))
    start_y = parent.y + parent.height / 2 + (place - (siblings - 1) / 2) * spread
    end_y = child.y + child.height / 2
    middle = (start_x + end_x) / 2
    path = f"M{start_x:g} {start_y:g}C{middle:g} {start_y:g} {middle:g} {end_y:g} {end_x:g} {end_y:g}"
    return Wire(child.node, path, _arrow(child.x, end_y), middle, (start_y + end_y) / 2)


def _arrow(x: float, y: float) -> str:
    return f"{x:g},{y:g} {x - ARROW:g},{y - ARROW / 2:g} {x - ARROW:g},{y + ARROW / 2:g}"


class _Stack:
    """The tree as it grows downwards."""

    def __init__(self, tree: _Tree) -> None:
        self.tree = tree
        self.boxes: list[Box] = []
        self.wires: list[Wire] = []
        self.y = float(MARGIN)

    def add(self, node: Drawn, parent: Box | None) -> None:
        x = MARGIN if parent is None else parent.x + TREE_INDENT
        has_wire = parent is not None and bool(node.pill)
        self.y += TREE_GAP - ROW_GAP if has_wire else 0
        box = Box(node, x, self.y, TREE_WIDTH + MARGIN - x)
        self.boxes.append(box)
        if parent is not None and has_wire:
            self.wires.append(_elbow(parent, box))
        self.y += BOX_HEIGHT + ROW_GAP
        for child in self.tree.children.get(node.name, ()):
            self.add(child, box)


def _elbow(parent: Box, child: Box) -> Wire:
    trunk, end_y = parent.x + TREE_TRUNK, child.y + child.height / 2
    path = f"M{trunk:g} {parent.y + parent.height:g}V{end_y - 8:g}Q{trunk:g} {end_y:g} {trunk + 8:g} {end_y:g}H{child.x - ARROW:g}"
    half = (len(child.node.pill) * PILL_CHARACTER + PILL_PADDING) / 2
    return Wire(child.node, path, _arrow(child.x, end_y), child.x + half, child.y - TREE_GAP / 2)
