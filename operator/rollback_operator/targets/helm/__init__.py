"""Releases of Helm: what `helm rollback` does, carried out by Helm itself, at most once."""

from rollback_operator.targets.helm.target import HelmTarget

__all__ = ["HelmTarget"]
