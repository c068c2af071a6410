"""How long what was rolled back from is kept away, where something would bring it back by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rollback_operator.api.fields import Duration, Resource, object_name


class HoldOrders(Resource):
    """When a hold ends, when people are told that it lasts, and what it takes to read Git."""

    until: Literal["TargetChanges", "Manual"] = Field(
        default="TargetChanges",
        description="TargetChanges: until Git would bring this target something else than what was rolled back from. "
        'Manual: until a person sets the annotation rollback.dev/release: "true" on what is held.',
    )
    alert_after: Duration = Field(
        default="24h", description="How long it may last before an Event reminds people of it; 24h at the most."
    )
    git_secret_name: Annotated[str, object_name("Secret", "shop-repository")] | None = Field(
        default=None,
        description="Secret with what a private repository asks for, as Argo CD has it: url (it is shown to addresses "
        "that begin so, and to no other), username and password. In the namespace of the request, read as its service "
        "account. Omitted: the repository is read without.",
    )
