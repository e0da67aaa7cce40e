"""Which groups of clusters does a map show, what is in each, and which clusters share a hue?

It knows trees and colours, not points: `map_clusters` gives groups their places. Clusters go by code, the row they have
there.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmsys_rs.map import MapGroup

__all__ = ["FlatGroups", "branches", "flat_groups", "shade"]

# Turn of the hue and lightness of the first, second, ... cluster of a branch, in HLS: less than between two colours of
# the palettes. Five of 20 colours are 100, and the page can show 254.
_SHADES = ((0.0, 0.0), (0.01, 0.08), (-0.01, -0.07), (0.005, 0.04), (-0.005, -0.035))


@dataclass(slots=True)
class FlatGroups:
    """A hierarchy as columns, each group after its parent."""

    groups: list[MapGroup] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # index of a group, -1 = a top
    codes: list[list[int]] = field(default_factory=list)  # all the clusters in each, the largest (lowest) first
    group_of: list[int] = field(default_factory=list)  # per cluster: the group right above it, -1 = none

    def above(self, group: int) -> list[int]:
        """The group and those above it, its top first; nothing for -1."""
        path: list[int] = []
        while group >= 0:
            path.append(group)
            group = self.parents[group]
        return path[::-1]


def flat_groups(groups: Sequence[MapGroup], code_of: Mapping[int, int]) -> FlatGroups:
    """The groups that hold a cluster of the map."""
    flat = FlatGroups(group_of=[-1] * len(code_of))

    def add(group: MapGroup, parent: int) -> None:
        codes = sorted(code_of[i] for i in group.all_cluster_ids() if i in code_of)
        if not codes:
            return
        index = len(flat.groups)
        flat.groups.append(group)
        flat.parents.append(parent)
        flat.codes.append(codes)
        for i in group.cluster_ids:
            if i in code_of:
                flat.group_of[code_of[i]] = index
        for child in group.groups:
            add(child, index)

    for group in groups:
        add(group, -1)
    return flat


def branches(flat: FlatGroups, n_wanted: int) -> list[int]:
    """Which branch each cluster is on: its group on the first level that has ``n_wanted`` of them, or the lowest.

    A branch is named by its first cluster; one that is in no group is a branch of its own.
    """
    paths = [flat.above(group) for group in flat.group_of]
    found = list(range(len(paths)))
    for level in range(max(map(len, paths), default=0)):
        found = [
            flat.codes[path[min(level, len(path) - 1)]][0] if path else code for code, path in enumerate(paths)
        ]  # fmt: skip
        if len(set(found)) >= n_wanted:
            break
    return found


def shade(color: str, number: int) -> str:
    """The ``number``-th relative of a colour; 0 is itself."""
    turn, lighter = _SHADES[number % len(_SHADES)]
    hue, lightness, saturation = colorsys.rgb_to_hls(*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    rgb = colorsys.hls_to_rgb((hue + turn) % 1.0, min(0.85, max(0.2, lightness + lighter)), saturation)
    return "#" + "".join(f"{round(255 * v):02x}" for v in rgb) if number % len(_SHADES) else color
