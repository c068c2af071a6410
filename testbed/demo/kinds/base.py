"""What a story is: something is rolled back, on a cluster that is there, and it is made sure that it helped."""

from __future__ import annotations

from typing import Protocol

from testbed.demo.stage import Stage

BY_CONTROLLERS = "Verified here means what the controllers say. On a real node, pods answer."
"""What an end on fake nodes is worth, as a rule."""


class Story(Protocol):
    """One kind, from a release that works to one that works again."""

    opening: str
    """The first sentence."""
    chapters: int
    """How many steps it takes, once the cluster and the images are there."""
    programs: tuple[str, ...]
    """What it needs beside the cluster's own programs."""
    on_fake_nodes: str
    """What its end is worth where no container runs."""
    to_look_at: tuple[str, ...]
    """Commands for whoever keeps the cluster, and what they should know."""

    def is_told(self, stage: Stage) -> bool:
        """Tell it; whether the end was verified.

        Raises:
            TestbedError: it came to no end, with what was waited for.
        """
