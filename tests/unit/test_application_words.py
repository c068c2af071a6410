"""Argo CD's words are repeated without what may be secret."""

from __future__ import annotations

import pytest

from rollback_operator.targets.application.words import told

JOB = 'Job.batch "migrate" is invalid: spec.template: Invalid value: {}: field is immutable'
PATCH = (
    'error when applying patch:\n{"spec":{"template":{"spec":{"containers":[{"env":[{"name":"T","value":"s3same"}]}]}}}'
    '}\nto:\nResource: "apps/v1, Resource=deployments"\nName: "web", Namespace: "shop"\nfor: "/dev/shm/1": '
)
HELM = "`helm template . --set db.password=s3same --set a=b`"
SHOWN = {
    "one or more objects failed to apply, reason: quota": "one or more objects failed to apply, reason: quota",
    "cannot read https://bot:s3same@git.example.com/shop.git": "cannot read https://git.example.com/shop.git",
    "cannot read https://bot:p@s3same@git.example.com/a@b of x@y": "cannot read https://git.example.com/a@b of x@y",
    JOB.format('{"env":[{"name":"T","value":"s3same"}]}'): JOB.format("<not shown>"),
    f"{PATCH}Deployment is invalid": 'error when applying a patch for: "/dev/shm/1": Deployment is invalid',
    'error when applying patch: {"a":"s3same"': "error when applying a patch",
    f"{HELM} failed exit status 1: no such chart": "`…` failed exit status 1: no such chart",
    HELM.removesuffix("`"): "`…`",
    "a\n  b": "a b",
    "x" * 600: "x" * 498 + " …",
}


@pytest.mark.parametrize("said", SHOWN)
def test_what_is_secret_is_left_out(said: str) -> None:
    assert told(said, 500) == SHOWN[said]
    assert "s3same" not in told(said, 500)
