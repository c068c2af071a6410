"""What is asked about a place in a repository, and what the answers are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Directory:
    """A folder of manifests."""

    recurse: bool = False
    include: str = ""
    exclude: str = ""
    overrides: tuple[str, ...] = ()
    """Files in the folder by which these options may be other ones (`.argocd-source.yaml`)."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of Helm."""

    used: tuple[str, ...] = ()
    """Further files that it is given, relative to it."""
    read: tuple[str, ...] = ()
    """Patterns of further files that its templates read."""
    overrides: tuple[str, ...] = ()
    values: str = ""
    """Values that the source itself has, in which templates may stand."""


@dataclass(frozen=True, slots=True)
class Kustomization:
    """A folder that a kustomization describes."""

    used: tuple[str, ...] = ()
    """Further paths that it is given, relative to it."""
    overrides: tuple[str, ...] = ()


How = Directory | Chart | Kustomization


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a repository at a commit, and what else of it belongs to what is there."""

    url: str
    commit: str
    path: str
    also: tuple[str, ...] = ()
    how: How | None = None
    """How it is read; None: all of it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Digests of what is at a spot."""

    sure: str
    """Of what is read."""
    rest: str = ""
    """Of what is only read if a chart's templates ask for it."""


@dataclass(frozen=True, slots=True)
class Reads:
    """Which files the templates of a chart ask for."""

    patterns: tuple[str, ...] = ()
    others: bool = False
    """Whether there are some whose names only come to be when it is rendered."""
