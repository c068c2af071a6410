"""What a refusal means: whose rights are missing, or who said no."""

from __future__ import annotations

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.refusals import refusal, unfinished
from tests.unit.builders import CHECKOUT

ACCOUNT = ServiceAccount("shop", "rollback")
CALL = "PATCH /apis/apps/v1/namespaces/shop/deployments/checkout as shop/rollback: "
RIGHTS = "Service account shop/rollback may not patch Deployment checkout in namespace shop: nothing was changed."
REFUSALS: dict[str, tuple[errors.KubeError, Reason, str]] = {
    "the account lacks a right": (
        errors.Forbidden(
            f'{CALL}403 deployments.apps "checkout" is forbidden: User "system:serviceaccount:shop:rollback" cannot '
            'patch resource "deployments" in API group "apps" in the namespace "shop"'
        ),
        Reason.FORBIDDEN,
        f"{RIGHTS} Give it the rights (examples/rbac.yaml shows which), then write a new request.",
    ),
    "the account lacks a right on what else a rollback needs": (
        errors.Forbidden(
            "POST /api/v1/namespaces/shop/secrets as shop/rollback: 403 secrets is forbidden: User "
            '"system:serviceaccount:shop:rollback" cannot create resource "secrets" in API group "" in the namespace '
            '"shop"'
        ),
        Reason.FORBIDDEN,
        "Service account shop/rollback may not create secrets, which rolling Deployment/checkout back takes,",
    ),
    "the operator may not impersonate": (
        errors.Forbidden(
            f'{CALL}403 serviceaccounts "rollback" is forbidden: User "system:serviceaccount:rollback-system:'
            'rollback-operator" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "shop"'
        ),
        Reason.FORBIDDEN,
        "The operator's own rights do not suffice: apply its deploy/ folder again, then write a new request.",
    ),
    "the operator may not impersonate on this resource": (
        errors.Forbidden(
            f'{CALL}403 serviceaccounts "rollback" is forbidden: User "system:serviceaccount:rollback-system:'
            'rollback-operator" cannot impersonate-on:serviceaccount:patch resource "deployments" in API group "apps"'
        ),
        Reason.FORBIDDEN,
        "The operator's own rights do not suffice: the component constrained-impersonation lists",
    ),
    "a webhook says no": (
        errors.Forbidden(f'{CALL}403 admission webhook "freeze.example.com" denied the request: frozen until Monday'),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed:",
    ),
    "a webhook says no in the words of the authorizer": (
        errors.Forbidden(
            f'{CALL}403 admission webhook "f.example.com" denied the request: you cannot patch on Fridays'
        ),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed:",
    ),
    "a policy says no": (
        errors.Forbidden(
            f"{CALL}403 deployments.apps \"checkout\" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding "
            "'freeze' denied request: this cannot be changed now"
        ),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed:",
    ),
    "a quota says no": (
        errors.Forbidden(f'{CALL}403 deployments.apps "checkout" is forbidden: exceeded quota: objects'),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed:",
    ),
    "the old template is not valid any more": (
        errors.Invalid(f'{CALL}422 Deployment.apps "checkout" is invalid: spec.template.spec.containers[0].image'),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed:",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_when(case: str) -> None:
    error, reason, says = REFUSALS[case]
    refused = refusal(error, CHECKOUT, ACCOUNT)
    assert refused.reason == reason
    assert refused.message.startswith(says)
    assert str(error) in refused.message, "in the API server's own words"
    assert refused.plan is None


LEFT = "DELETE /api/v1/namespaces/shop/pods/checkout-2 as shop/rollback: 403 "
UNFINISHED: dict[str, tuple[errors.KubeError, Reason, str]] = {
    "the account lacks a right": (
        errors.Forbidden(
            f'{LEFT}pods "checkout-2" is forbidden: User "system:serviceaccount:shop:rollback" cannot delete resource '
            '"pods" in API group "" in the namespace "shop"'
        ),
        Reason.FORBIDDEN,
        "Service account shop/rollback may not delete pods in namespace shop, which finishing the rollback of ",
    ),
    "the operator may not impersonate on this resource": (
        errors.Forbidden(
            f'{LEFT}serviceaccounts "rollback" is forbidden: User "system:serviceaccount:rollback-system:'
            'rollback-operator" cannot impersonate-on:serviceaccount:delete resource "pods" in API group ""'
        ),
        Reason.FORBIDDEN,
        "The operator's own rights do not suffice: the component constrained-impersonation lists",
    ),
    "a webhook says no": (
        errors.Forbidden(f'{LEFT}admission webhook "freeze.example.com" denied the request'),
        Reason.REJECTED,
        "The API server does not take what is left to do after the rollback of Deployment/checkout.",
    ),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_what_is_left_to_do_is_refused_when(case: str) -> None:
    error, reason, says = UNFINISHED[case]
    refused = unfinished(error, CHECKOUT, ACCOUNT)
    assert refused.reason == reason
    assert refused.message.startswith(says)
    assert str(error) in refused.message
