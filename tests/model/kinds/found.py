"""What the walks of kinds are for: a mistake is put in, and its walk comes to what is wrong then."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.model.kinds.explore import explore
from tests.model.kinds.shell import Shell
from tests.model.kinds.world import Case
from tests.model.seeding import Mistake, assert_found


class Found(NamedTuple):
    """A mistake, the walk that finds it, and the story that it tells."""

    mistake: Mistake
    case: Case
    wrong: str
    story: tuple[str, ...] = ()
    """Pieces of its lines, in order."""

    def check(self, shell: Shell[Any], patch: pytest.MonkeyPatch) -> None:
        """Make the mistake, and walk. The shell is nobody else's: what it did once, it remembers."""
        self.mistake(patch)
        assert_found(explore(self.case, shell).violation, self.wrong, self.story)
