"""Every import between rooms goes one way, and there are not more ways than there were."""

from __future__ import annotations

from tests.rooms import arrows, circles, floors

# From the ground up: a room imports only rooms that stand before it.
ORDER = (
    "problems", "settings", "store", "decisions", "sources", "recipe", "plan", "engines", "run",
    "pull", "gc", "scheduling", "throughput", "up", "cli",
)  # fmt: skip
MOST_FLOORS, MOST_ARROWS = 10, 63  # never to be raised in passing


def test_rooms_stand_in_one_order():
    graph = arrows()
    assert sorted(graph) == sorted(ORDER)
    wrong = {
        f"{room} imports {below}"
        for room, found in graph.items()
        for below in found
        if ORDER.index(below) >= ORDER.index(room)
    }
    assert not wrong
    assert not circles(graph)
    assert max(floors(graph).values()) <= MOST_FLOORS
    assert sum(map(len, graph.values())) <= MOST_ARROWS


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
