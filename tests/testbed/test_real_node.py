"""A node that runs containers, and what is left of it afterwards: nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Cluster, TestbedError, clearing, images, network, realnode
from testbed.processes import Identity, Roster

pytestmark = [pytest.mark.real_node, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
IMAGE = "docker.io/rollback-operator/probe:1"
DOCKERFILE = f"FROM {images.BASE}\nRUN python3 -m venv /probe\nUSER 65532:65532\n"

ASK_THE_API_SERVER = """
import json, pathlib, ssl, urllib.error, urllib.request
account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
context = ssl.create_default_context(cafile=str(account / "ca.crt"))
url = "https://kubernetes.default.svc/api/v1/namespaces/default/secrets"
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + (account / "token").read_text()})
try:
    urllib.request.urlopen(request, context=context)
except urllib.error.HTTPError as error:
    print(json.load(error)["message"])
"""
# A Service answers a moment after its pods are ready: CoreDNS and kube-proxy have to hear of them first.
ASK_A_SERVICE = """
import sys, time, urllib.request
while True:
    try:
        print(urllib.request.urlopen("http://web.default.svc:8080", timeout=5).status)
        break
    except OSError as error:
        print(f"{time.time():.1f} {error}", file=sys.stderr, flush=True)
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reason = realnode.what_is_missing() or images.what_is_missing() or realnode.who_has_it()
    if reason:
        pytest.skip(reason)
    context = tmp_path_factory.mktemp("image")
    (context / "Dockerfile").write_text(DOCKERFILE)
    return images.build(context, IMAGE)


@pytest.fixture(scope="module")
def cluster(image: Path) -> Iterator[Cluster]:
    """Of this module's own, because its end is tested too."""
    with Cluster.start(nodes="real") as cluster:
        cluster.load_image(image)
        yield cluster


def run(cluster: Cluster, name: str, *command: str) -> str:
    """What a pod with our image prints until it ends."""
    cluster.kubectl("run", name, f"--image={IMAGE}", "--restart=Never", "--", *command)
    succeeded = "--for=jsonpath={.status.phase}=Succeeded"
    try:
        cluster.kubectl("wait", f"pod/{name}", succeeded, "--timeout=300s", timeout=330)
    except TestbedError as error:
        seen = cluster.kubectl("describe", "pod", name), cluster.kubectl("logs", "--tail=20", name)
        raise AssertionError("\n".join((str(error), *seen))) from error
    return cluster.kubectl("logs", name).splitlines()[-1]


def test_a_pod_reaches_the_api_server_by_name_with_tls_verified(cluster: Cluster) -> None:
    answer = run(cluster, "asks-api", "/probe/bin/python", "-c", ASK_THE_API_SERVER)
    assert answer.startswith('secrets is forbidden: User "system:serviceaccount:default:default" cannot list')


def test_a_service_is_reached_by_name_from_a_pod_of_the_same_node(cluster: Cluster) -> None:
    server = ("python3", "-m", "http.server", "8080", "--directory", "/tmp")  # noqa: S108 - in the container
    cluster.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=2", "--port=8080", "--", *server)
    cluster.kubectl("expose", "deployment", "web")
    cluster.kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=300s", timeout=330)
    assert run(cluster, "asks-service", "python3", "-c", ASK_A_SERVICE) == "200"


@pytest.mark.usefixtures("cluster")
def test_pods_that_come_and_go_do_not_change_the_gateways_hardware_address() -> None:
    set_by_hand = "3"  # NET_ADDR_SET of <linux/netdevice.h>; 0 and 1 follow the plugs
    assert Path("/sys/class/net", network.BRIDGE, "addr_assign_type").read_text().strip() == set_by_hand


def test_commands_run_in_a_pod(cluster: Cluster) -> None:
    cluster.kubectl("run", "sleeps", f"--image={IMAGE}", "--", "sleep", "600")
    cluster.kubectl("wait", "pod/sleeps", "--for=condition=Ready", "--timeout=300s", timeout=330)
    assert cluster.kubectl("exec", "sleeps", "--", "id", "-u").strip() == "65532"


@pytest.mark.parametrize(
    "name, image_name, command, reason",
    [
        ("crashes", IMAGE, "false", "CrashLoopBackOff"),
        ("unknown", "registry.example/nobody/nothing:1", "true", "ImagePullBackOff"),
    ],
)
def test_a_failing_pod_shows_the_usual_reason(
    cluster: Cluster, name: str, image_name: str, command: str, reason: str
) -> None:
    cluster.kubectl("run", name, f"--image={image_name}", "--", command)
    path = "{.status.containerStatuses[0].state.waiting.reason}"
    cluster.kubectl("wait", f"pod/{name}", f"--for=jsonpath={path}={reason}", "--timeout=300s", timeout=330)


def test_fake_nodes_stand_beside_the_real_one(cluster: Cluster) -> None:
    cluster.add_fake_nodes(2)
    names = cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert sorted(names) == ["fake-0", "fake-1", "real-0"]


def test_a_second_claim_in_one_run_is_refused_at_once(cluster: Cluster) -> None:
    with pytest.raises(TestbedError, match="this run has it already"):
        Cluster.start(nodes="real")
    assert "real-0" in cluster.kubectl("get", "nodes")


def traces(mark: str) -> dict[str, object]:
    """What is there of a real node, by all the ways in which one could be."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
    marked = [
        folder.name
        for folder in Path("/proc").glob("[0-9]*")
        if Identity.of(int(folder.name)) and f"{clearing.MARK}={mark}".encode() in _environment(folder)
    ]
    return {
        "folder": realnode.FOLDER.exists(),
        "mounts": str(realnode.FOLDER) in Path("/proc/self/mountinfo").read_text(),
        "links": [link["ifname"] for link in links if network.BRIDGE in (link["ifname"], link.get("master"))],
        "rules": "KUBE-" in rules,
        "processes": marked,
    }


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


NOTHING = {"folder": False, "mounts": False, "links": [], "rules": False, "processes": []}


def test_a_stop_leaves_nothing(cluster: Cluster) -> None:
    node = cluster._node
    assert node is not None
    before = traces(node.roster.facts["mark"])
    assert all(before.values()), before
    kernel = node.roster.facts["before"]
    with realnode.keep():  # or the next run in line would have its traces there already
        cluster.stop()
        assert traces(node.roster.facts["mark"]) == NOTHING
        assert network.before() == kernel


def test_the_next_start_clears_what_a_killed_run_left(image: Path) -> None:
    script = (
        "import time; from pathlib import Path; from testbed import Cluster\n"
        "cluster = Cluster.start(nodes='real')\n"
        f"cluster.load_image(Path({str(image)!r}))\n"
        f"cluster.kubectl('run', 'sleeps', '--image={IMAGE}', '--', 'sleep', '600')\n"
        "cluster.kubectl('wait', 'pod/sleeps', '--for=condition=Ready', '--timeout=170s')\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        assert "ready\n" in iter(killed.stdout.readline, "")
        left = Roster.read(realnode.FOLDER / clearing.STATE)
        killed.send_signal(signal.SIGKILL)
    assert left is not None
    with Cluster.start(nodes="real") as cluster:
        assert traces(left.facts["mark"])["processes"] == []
        assert not Path(left.facts["cluster"]).exists()
        assert "real-0" in cluster.kubectl("get", "nodes")
