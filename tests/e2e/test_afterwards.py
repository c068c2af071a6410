"""What people do next still works: apply, server-side apply and Helm succeed after a rollback and strand nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.world import World, outcome, web

OLD_ONLY = [{"name": "OLD", "value": "only in the first release"}]


def env(world: World) -> list[dict[str, Any]]:
    containers = world.get("deployment", "web")["spec"]["template"]["spec"]["containers"]
    found: list[dict[str, Any]] = containers[0].get("env", [])
    return found


@pytest.mark.parametrize("server_side", [False, True], ids=["kubectl apply", "kubectl apply --server-side"])
def test_the_next_apply_succeeds_and_removes_what_only_the_old_revision_had(world: World, *, server_side: bool) -> None:
    world.release(web("shop:1", env=OLD_ONLY), server_side=server_side)
    world.release(web("shop:2"), server_side=server_side)
    assert outcome(world.roll_back("back")) == ("Succeeded", "Completed")
    assert env(world) == OLD_ONLY

    world.release(web("shop:3"), server_side=server_side)

    assert world.image() == "shop:3"
    assert env(world) == []


def test_a_change_from_client_side_to_server_side_apply_strands_nothing(world: World) -> None:
    world.release(web("shop:1", env=OLD_ONLY))
    world.release(web("shop:2"))
    world.roll_back("back")

    world.release(web("shop:3"), server_side=True)

    assert (world.image(), env(world)) == ("shop:3", [])


def test_applying_the_bad_release_again_brings_it_back_whole(world: World) -> None:
    world.release(web("shop:1", env=OLD_ONLY))
    world.release(web("shop:2"))
    world.roll_back("back")

    world.release(web("shop:2"))

    assert (world.image(), env(world)) == ("shop:2", [])


def test_no_field_stays_ours(world: World) -> None:
    world.release(web("shop:1"))
    world.release(web("shop:2"))
    world.roll_back("back")

    managed = world.get("deployment", "web", "--show-managed-fields")["metadata"]["managedFields"]

    assert "rollback-operator" not in {entry["manager"] for entry in managed}


def test_kubectl_rollout_undo_still_works(world: World) -> None:
    world.release(web("shop:1"))
    world.release(web("shop:2"))
    world.roll_back("back")

    world.kubectl("rollout", "undo", "deployment/web")

    assert world.image() == "shop:2"


def test_the_next_helm_upgrade_succeeds_and_strands_nothing(world: World, tmp_path: Path) -> None:
    chart = _chart(tmp_path)
    helm = ["--namespace", world.namespace, "--wait", "--timeout=180s"]
    world.cluster.helm("install", "web", str(chart), *helm, "--set=image=shop:1,old=true")
    world.cluster.helm("upgrade", "web", str(chart), *helm, "--set=image=shop:2")
    assert outcome(world.roll_back("back", owner="Ignore")) == ("Succeeded", "Completed")
    assert (world.image(), env(world)) == ("shop:1", OLD_ONLY)

    world.cluster.helm("upgrade", "web", str(chart), *helm, "--set=image=shop:3")

    assert (world.image(), env(world)) == ("shop:3", [])


def _chart(folder: Path) -> Path:
    chart = folder / "web"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("image: shop:1\nold: false\n")
    body = web("{{ .Values.image }}", env="ENV")
    old = yaml.safe_dump(OLD_ONLY, default_flow_style=True).strip()
    env_block = f"{{{{ if .Values.old }}}}{old}{{{{ else }}}}[]{{{{ end }}}}"
    (chart / "templates" / "web.yaml").write_text(yaml.safe_dump(body).replace("env: ENV", f"env: {env_block}"))
    return chart
