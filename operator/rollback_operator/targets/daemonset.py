"""DaemonSets: the old template on every node, and a wait for its pods."""

from __future__ import annotations

from typing import Any

from rollback_operator.core.values import Health, Wellbeing
from rollback_operator.targets.controllerrevisions import POD_LABEL, ControllerRevisionTarget, on_delete
from rollback_operator.targets.metadata import fresh

Object = dict[str, Any]


class DaemonSetTarget(ControllerRevisionTarget):
    """Rolls DaemonSets back. Pods that do not get ready hold nothing up: the controller replaces those first."""

    kind = "DaemonSet"

    def _pod_label(self, record: Object) -> str:
        label: str = record["metadata"]["labels"][POD_LABEL]
        return label

    def _rollout(self, body: Object) -> Health:
        status = body.get("status") or {}
        names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
        wanted, new, available = (status.get(name, 0) for name in names)
        if not fresh(body):
            return Health(Wellbeing.PROGRESSING, "the DaemonSet controller has not seen the change yet")
        if new < wanted:
            return Health(Wellbeing.PROGRESSING, f"{new} of {wanted} pods are updated")
        if available < wanted:
            return Health(Wellbeing.PROGRESSING, f"{available} of {wanted} pods are available")
        return Health(Wellbeing.HEALTHY, f"{wanted} of {wanted} pods are updated and available")

    def _staged(self, body: Object) -> Health:
        if not on_delete(body) or not fresh(body):
            return self._rollout(body)
        status = body.get("status") or {}
        new, wanted = status.get("updatedNumberScheduled", 0), status.get("desiredNumberScheduled", 0)
        return Health(Wellbeing.HEALTHY, f"{new} of {wanted} pods are updated, others once somebody deletes them")
