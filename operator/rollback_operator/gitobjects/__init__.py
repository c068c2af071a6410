"""What a Git repository has at a commit, as the ids of its objects: where those are the same, so is what they bring."""

from rollback_operator.gitobjects.asking import Credentials, GitObjects
from rollback_operator.gitobjects.program import Unknowable
from rollback_operator.gitobjects.spots import Chart, Directory, How, Identity, Kustomization, Reads, Spot

__all__ = [
    "Chart",
    "Credentials",
    "Directory",
    "GitObjects",
    "How",
    "Identity",
    "Kustomization",
    "Reads",
    "Spot",
    "Unknowable",
]
