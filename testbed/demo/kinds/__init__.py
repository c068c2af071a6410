"""The stories of the demo: one module for each kind of what is rolled back, behind the protocol in `base`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from testbed.demo.kinds.argocd import ArgoCDStory
from testbed.demo.kinds.base import Story
from testbed.demo.kinds.daemonset import DaemonSetStory
from testbed.demo.kinds.deployment import DeploymentStory
from testbed.demo.kinds.helm import HelmStory
from testbed.demo.kinds.statefulset import StatefulSetStory

STORIES: Mapping[str, Callable[[], Story]] = {
    "deployment": DeploymentStory,
    "statefulset": StatefulSetStory,
    "daemonset": DaemonSetStory,
    "helm": HelmStory,
    "argocd": ArgoCDStory,
}
"""By what `make demo KIND=...` calls them."""
