"""What a refusal means: whose rights are missing, or who said no."""

from __future__ import annotations

import pytest

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.refusals import cannot_look, refusal, unfinished
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
        (
            "Service account shop/rollback may not create secrets in namespace shop, and rolling Deployment/checkout "
            "back takes that: nothing was changed. Give it the rights"
        ),
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
        "The API server does not take the change of Deployment/checkout; nothing was changed. Remove",
    ),
    "a webhook says no in the words of the authorizer": (
        errors.Forbidden(
            f'{CALL}403 admission webhook "f.example.com" denied the request: you cannot patch on Fridays'
        ),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed. Remove",
    ),
    "a policy says no": (
        errors.Forbidden(
            f"{CALL}403 deployments.apps \"checkout\" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding "
            "'freeze' denied request: this cannot be changed now"
        ),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed. Remove",
    ),
    "a quota says no": (
        errors.Forbidden(f'{CALL}403 deployments.apps "checkout" is forbidden: exceeded quota: objects'),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed. Remove",
    ),
    "the old template is not valid any more": (
        errors.Invalid(f'{CALL}422 Deployment.apps "checkout" is invalid: spec.template.spec.containers[0].image'),
        Reason.REJECTED,
        "The API server does not take the change of Deployment/checkout; nothing was changed. Remove",
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


SHOWN: dict[str, tuple[str, str, str, str]] = {
    "a Deployment": ("Deployment", "patch", "deployments", "rbac.yaml"),
    "a pod that holds a StatefulSet up": ("StatefulSet", "delete", "pods", "rbac.yaml"),
    "the copy of what is replaced": ("Deployment", "create", "secrets", "rbac.yaml"),
    "what a revision needs": ("Deployment", "get", "configmaps", "rbac.yaml"),
    "configuration that goes back": ("Deployment", "patch", "configmaps", "rbac-remember.yaml"),
    "a Secret that goes back": ("Deployment", "patch", "secrets", "rbac-remember.yaml"),
    "what Flux applies": ("Deployment", "patch", "kustomizations", "rbac-owners.yaml"),
    "a record of Helm": ("Helm", "create", "secrets", "rbac-helm.yaml"),
    "what a chart holds": ("Helm", "patch", "configmaps", "rbac-helm.yaml"),
    "what Flux makes a release of": ("Helm", "patch", "helmreleases", "rbac-owners.yaml"),
    "an Application": ("Application", "update", "applications", "rbac-argocd.yaml"),
    "an Application that Flux applies": ("Application", "patch", "kustomizations", "rbac-owners.yaml"),
    "the copy of an Application": ("Application", "create", "secrets", "rbac.yaml"),
}


def lacking(verb: str, resource: str) -> errors.Forbidden:
    return errors.Forbidden(
        f'PUT /a/path as shop/rollback: 403 {resource} "web" is forbidden: User "system:serviceaccount:shop:rollback" '
        f'cannot {verb} resource "{resource}" in API group "" in the namespace "shop"'
    )


@pytest.mark.parametrize("case", SHOWN)
def test_the_file_that_shows_the_missing_right_is_named_for(case: str) -> None:
    kind, verb, resource, file = SHOWN[case]
    ref, error = TargetRef.model_validate({"kind": kind, "name": "web"}), lacking(verb, resource)
    assert f"(examples/{file} shows which)" in refusal(error, ref, ACCOUNT).message
    assert f"(examples/{file} shows which)" in unfinished(error, ref, ACCOUNT).message
    assert f"Give it the rights: examples/{file} shows which." in cannot_look(error, ref, ACCOUNT)


BY_HELM = TargetRef.model_validate({"kind": "Helm", "name": "web"})
UNSEEN: dict[str, tuple[errors.Forbidden, str]] = {
    "the account may not": (lacking("list", "secrets"), "Service account shop/rollback may not look at Helm/web."),
    "the operator may not": (
        errors.Forbidden('GET /a/path: 403 deployments.apps "web" is forbidden: User "x" cannot get resource "a"'),
        "The operator's own rights do not suffice: apply its deploy/ folder again. GET",
    ),
    "the operator may not be the account": (
        errors.Forbidden(
            'GET /a/path as shop/rollback: 403 serviceaccounts "rollback" is forbidden: User "x" cannot impersonate '
            'resource "serviceaccounts" in API group "" in the namespace "shop"'
        ),
        "The operator's own rights do not suffice: apply its deploy/ folder again. GET",
    ),
}


@pytest.mark.parametrize("case", UNSEEN)
def test_a_policy_cannot_look_at_its_target_when(case: str) -> None:
    error, says = UNSEEN[case]
    message = cannot_look(error, BY_HELM, ACCOUNT)
    assert message.startswith(says)
    assert message.endswith(str(error))


def test_what_helm_says_is_not_put_into_the_api_servers_mouth() -> None:
    refused = refusal(errors.Invalid("Helm says: chart requires kubeVersion: >=1.40"), BY_HELM, ACCOUNT)
    assert refused.message.startswith("Helm, or the API server, does not take the change of Helm/web; nothing was")


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
        "Deployment/checkout was set back, and stays so; the API server does not take what is left to do then",
    ),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_what_is_left_to_do_is_refused_when(case: str) -> None:
    error, reason, says = UNFINISHED[case]
    refused = unfinished(error, CHECKOUT, ACCOUNT)
    assert refused.reason == reason
    assert refused.message.startswith(says)
    assert str(error) in refused.message
