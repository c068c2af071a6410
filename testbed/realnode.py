"""stub"""
from pathlib import Path
from testbed.processes import Roster

class RealNode:
    roster: Roster
    @classmethod
    def claim(cls, d: Path, *, detached: bool) -> "RealNode": raise NotImplementedError
    @classmethod
    def attach(cls, d: Path) -> "RealNode": raise NotImplementedError
    def start(self, plane: object) -> None: ...
    def stop(self) -> None: ...
    def load_image(self, a: Path) -> None: ...
def what_is_missing() -> str | None:
    return "not yet"
