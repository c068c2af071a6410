"""How long what was rolled back from is kept away, where something would bring it back by itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rollback_operator.api.fields import Duration, Resource


class HoldOrders(Resource):
    """When a hold ends, and when people are told that it lasts."""

    until: Literal["TargetChanges", "Manual"] = Field(
        default="TargetChanges",
        description="TargetChanges: until Git would bring this target something else than what was rolled back from. "
        'Manual: until a person sets the annotation rollback.dev/release: "true" on the target.',
    )
    alert_after: Duration = Field(
        default="24h", description="How long it may last before an Event reminds people of it; 24h at the most."
    )
