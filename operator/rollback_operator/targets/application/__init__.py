"""Argo CD Applications: a sync to an earlier state of Git, and automation held off so that it stays."""

from rollback_operator.targets.application.target import ApplicationTarget

__all__ = ["ApplicationTarget"]
