"""Argo CD's words as they may be repeated: it quotes commands, patches and what the API server was given."""

from __future__ import annotations

import re

from rollback_operator.kube.words import without_values
from rollback_operator.targets.application.content import without_credentials

_COMMAND = re.compile(r"`[^`]*(?:`|$)")
"""How a failed `helm template` or `kustomize build` is told: with every parameter that it was given."""
_PATCH = re.compile(r"applying patch: .*?(?P<whose> for: \"[^\"]*\": |$)")
"""How kubectl tells of a patch that was refused: with the whole of it, and what it was for."""


def told(said: str, most: int) -> str:
    """`said` on one line of at most `most` characters: without credentials, values, patches and command lines."""
    line = " ".join(said.split())
    shown = _PATCH.sub(r"applying a patch\g<whose>", _COMMAND.sub("`…`", line))
    shown = without_values(without_credentials(shown))
    return shown if len(shown) <= most else shown[: most - 2] + " …"
