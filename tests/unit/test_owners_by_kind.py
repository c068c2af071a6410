"""What the kinds of targets tell of who manages them, and of what they consist of."""

from __future__ import annotations

from rollback_operator.targets.application.reading import resources
from rollback_operator.targets.helm.records import record_of
from tests.unit.helm import release, secret
from tests.unit.test_owners import HELM_RELEASE, MANIFEST


def test_a_record_of_helm_tells_who_drives_its_release() -> None:
    body = release(1, manifest=MANIFEST)
    record = record_of(secret(1, body), "shop")
    assert record is not None
    assert record.owners == (HELM_RELEASE,)


def test_an_application_says_what_it_manages() -> None:
    noted = [
        {"kind": "Deployment", "namespace": "shop", "name": "web", "group": "apps", "status": "Synced"},
        {"kind": "Namespace", "name": "shop"},
    ]
    assert resources({"status": {"resources": noted}}) == ("Deployment shop/web", "Namespace shop")
    assert resources({}) == ()
