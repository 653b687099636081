"""Endless routes over a lattice of places, random-access in time.

Time is cut into tours of equal length. Tour k leads from hub k to hub k + 1 and makes a round trip back to hub k on
its way; the hubs go two steps forth and one back, so places come back after one tour and after several. A tour is a
function of (seed, k) alone: the tours before it need not be known. Nodes are joined by the shortest ways without
U-turns that the lattice leaves open; corners are rounded by averaging along the line.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np

from openloger.shapes import Float64
from openloger.worlds.random import Dice, uniform_number

Node = tuple[int, int]
_STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))
_HUB_COLUMNS = (0, 1, 2, 1, 2)  # one round of hubs; the next round begins three columns further


@runtime_checkable
class Lattice(Protocol):
    """Places and the ways between neighbours."""

    def is_open(self, here: Node, there: Node) -> bool:
        """Whether one can go from a node to its neighbour."""
        ...

    def way(self, here: Node, there: Node) -> list[tuple[float, float]]:
        """Points (x, z) from a node (included) towards its neighbour (left out); metres."""
        ...


@dataclass(frozen=True)
class RouteStyle:
    """Speed and radius of turns along a route."""

    tour_s: float
    rounding: float  # metres of path over which corners are averaged
    step: float  # metres between the points of a tour's table
    turn_slowness: float  # how many times slower than straight on a right-angled turn of the rounding's length is
    stops: float  # expected stops in a tour
    hub_speed: float  # metres per second at the hubs
    hub_columns: int = 4  # lattice columns between hubs


@dataclass(frozen=True)
class Tour:
    """A tour's points at equal spacing, and the arc length reached at each of many equally spaced times."""

    points: Float64[np.ndarray, "point 2"]
    spacing: float
    start: float  # arc length of the hub: the table begins before it, so that one can look back
    reached: Float64[np.ndarray, "moment"]
    tour_s: float

    def place(self, seconds: float, ahead: float = 0.0) -> Float64[np.ndarray, "2"]:
        """(x, z) at a time since the tour's start, `ahead` metres further along the way."""
        moment = seconds / self.tour_s * (len(self.reached) - 1)
        first = min(max(int(moment), 0), len(self.reached) - 2)
        arc = self.reached[first] + (self.reached[first + 1] - self.reached[first]) * (moment - first)
        position = (arc + ahead) / self.spacing
        index = min(max(int(position), 0), len(self.points) - 2)
        return self.points[index] + (self.points[index + 1] - self.points[index]) * (position - index)


def hub(seed: int, number: int, columns: int) -> Node:
    """The lattice node of hub `number`; its edge to the right is the hub's place."""
    across = 3 * (number // len(_HUB_COLUMNS)) + _HUB_COLUMNS[number % len(_HUB_COLUMNS)]
    return across * columns, 2 * int(uniform_number(seed, 501, across) * 3)


def find_way(
    lattice: Lattice, start: Node, goal: Node, came_from: Node, *, salt: int, barred: tuple[Node, Node] | None = None
) -> list[Node]:
    """Cheapest nodes from `start` to `goal`, both included, never turning back on the spot nor going the `barred`
    way (A*; `salt` varies the choice among ways of equal length)."""
    first = (start, came_from)
    queue = [(0.0, 0.0, first)]
    best, before = {first: 0.0}, {}
    while queue:
        _, cost, state = heapq.heappop(queue)
        node, previous = state
        if node == goal:
            return _unwind(before, state)
        if cost > best[state]:
            continue
        for step in _STEPS:
            following = (node[0] + step[0], node[1] + step[1])
            if following == previous or (node, following) == barred or not lattice.is_open(node, following):
                continue
            turned = (node[0] - previous[0], node[1] - previous[1]) != step
            price = cost + 1.0 + 0.2 * turned + 0.8 * uniform_number(salt, *node, *step)
            reached = (following, node)
            if price < best.get(reached, np.inf):
                best[reached], before[reached] = price, state
                left = abs(goal[0] - following[0]) + abs(goal[1] - following[1])
                heapq.heappush(queue, (price + left, price, reached))
    raise AssertionError(f"no way from {start} to {goal}")


def _unwind(before: dict, state: tuple[Node, Node]) -> list[Node]:
    nodes = [state[0]]
    while state in before:
        state = before[state]
        nodes.append(state[0])
    return nodes[::-1]


def tour_nodes(lattice: Lattice, seed: int, number: int, style: RouteStyle) -> list[Node]:
    """Hub, round trip, hub, next hub: each hub as its node and the neighbour to the right."""
    here, there = hub(seed, number, style.hub_columns), hub(seed, number + 1, style.hub_columns)
    beyond, last = (here[0] + 1, here[1]), (there[0] + 1, there[1])
    dice = Dice(seed, 502, number)
    far = (here[0] + 2 * dice.integer(3) - 2, here[1] + 2 * int(dice.sign()))
    outward = find_way(lattice, beyond, far, here, salt=seed + number)
    back = find_way(lattice, far, here, outward[-2], salt=seed + number, barred=(beyond, here))
    onward = find_way(lattice, beyond, there, here, salt=seed + number + 1)
    nodes = [here, *outward, *back[1:], *onward, last]
    return nodes


def make_tour(lattice: Lattice, seed: int, number: int, style: RouteStyle) -> Tour:
    """The tour between two hubs, with the stretch before the first and after the second that both share."""
    nodes = tour_nodes(lattice, seed, number, style)
    corners = [point for here, there in pairwise(nodes) for point in lattice.way(here, there)]
    corners.append(lattice.way(nodes[-1], (nodes[-1][0] + 1, nodes[-1][1]))[0])
    line = np.array(corners)
    lead = _length(np.array([*lattice.way(nodes[0], nodes[1]), lattice.way(nodes[1], nodes[2])[0]])) / 2.0
    tail = _length(np.array([*lattice.way(nodes[-2], nodes[-1]), corners[-1]])) / 2.0
    total = _length(line)
    count = int(np.ceil(total / style.step)) + 1
    spacing = total / (count - 1)
    points = _rounded(_resample(line, count), int(style.rounding / spacing))
    reached = _schedule(points, spacing, (lead, total - tail), style, Dice(seed, 503, number))
    return Tour(points=points, spacing=spacing, start=lead, reached=reached, tour_s=style.tour_s)


def _length(line: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def _resample(line: np.ndarray, count: int) -> np.ndarray:
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0.0, arc[-1], count)
    return np.stack([np.interp(at, arc, line[:, axis]) for axis in range(2)], axis=1)


def _rounded(points: np.ndarray, reach: int) -> np.ndarray:
    """Two running means over 2·reach + 1 points; the ends go on straight."""
    for _ in range(2):
        if reach < 1:
            break
        ramp = np.arange(1, reach + 1)[:, None]
        before = points[0] - (points[1] - points[0]) * ramp[::-1]
        after = points[-1] + (points[-1] - points[-2]) * ramp
        padded = np.concatenate([before, points, after])
        sums = np.concatenate([np.zeros((1, 2)), np.cumsum(padded, axis=0)])
        points = (sums[2 * reach + 1 :] - sums[: -(2 * reach + 1)]) / (2 * reach + 1)
    return points


def _schedule(
    points: np.ndarray, spacing: float, span: tuple[float, float], style: RouteStyle, dice: Dice
) -> np.ndarray:
    """Arc length at equally spaced times. Slowness (s/m) is 1/hub_speed at both ends, larger in turns and at stops,
    and scaled in between so that the tour takes its time exactly."""
    arc = np.arange(len(points)) * spacing
    tangent = np.diff(points, axis=0, prepend=points[:1] - (points[1] - points[0]))
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    window = max(int(style.rounding / spacing), 1)
    turned = 1.0 - (tangent[:-window] * tangent[window:]).sum(axis=1)
    slow = np.ones(len(points))
    slow[window // 2 : window // 2 + len(turned)] += (style.turn_slowness - 1.0) * np.clip(turned, 0.0, 1.0)
    for _ in range(round(dice.uniform(0.0, 2.0 * style.stops))):
        stop = dice.uniform(span[0], span[1])
        slow += dice.uniform(8.0, 30.0) * np.exp(-(((arc - stop) / (0.6 * style.rounding)) ** 2))
    slow = _rounded(np.stack([slow, slow], axis=1), window)[:, 0]
    ease = 3.0 * style.rounding
    near_hub = np.clip(1.0 - np.minimum(arc - span[0], span[1] - arc) / ease, 0.0, 1.0)
    near_hub = near_hub * near_hub * (3.0 - 2.0 * near_hub)
    fixed, free = near_hub / style.hub_speed, (1.0 - near_hub) * slow
    inside = (arc >= span[0]) & (arc <= span[1])
    factor = (style.tour_s / spacing - fixed[inside].sum()) / free[inside].sum()
    slowness = fixed + max(factor, 0.05 / style.hub_speed) * free
    clock = np.concatenate([[0.0], np.cumsum(0.5 * (slowness[1:] + slowness[:-1]) * spacing)])
    begin, end = np.interp(span, arc, clock)
    moments = np.linspace(begin, end, 4 * len(points))
    return np.interp(moments, clock, arc)
