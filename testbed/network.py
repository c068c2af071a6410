"""The pods' own network on this machine: a bridge, kube-proxy's rules, and a few settings of the kernel.

What is here belongs to the real node, of which there is one at a time. What was there before is left as it was.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from testbed.errors import TestbedError

BRIDGE = "testbed0"
GATEWAY = "10.244.0.1"
PODS = "10.244.0.0/24"
_HARDWARE_ADDRESS = "0a:58:0a:f4:00:01"  # made from the gateway's, as the bridge plugin makes the pods'

_FAMILIES = {"ip": "iptables", "ip6": "ip6tables"}
_IPTABLES_TABLES = frozenset({"filter", "nat", "mangle", "raw"})
# What the kubelet, kube-proxy and the bridge plugin set.
_SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def refuse_if_taken() -> None:
    """Make sure no other Kubernetes node uses this machine's network.

    Raises:
        TestbedError: naming what is in the way.
    """
    if Path("/sys/class/net", BRIDGE).exists():
        raise TestbedError(f"The network device {BRIDGE} exists and is not ours; remove it: ip link delete {BRIDGE}")
    if any(line.startswith(":KUBE-") for line in _rules("iptables")):
        raise TestbedError("kube-proxy's iptables chains are here: this machine is a Kubernetes node already.")


def before() -> dict[str, object]:
    """What has to be as it is now when the node is gone."""
    return {"settings": dict(_settings()), "tables": sorted(_nft_tables())}


def create_bridge() -> None:
    """The bridge that pods are plugged into, with the node's address.

    A bridge without a hardware address of its own takes the lowest of its plugs, so that each pod that comes or goes
    may change it; the other pods then lose their packets to the gateway (DNS, Services) until they ask for it again.
    """
    _run("ip", "link", "add", BRIDGE, "address", _HARDWARE_ADDRESS, "type", "bridge")
    _run("ip", "address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def remove(found: Mapping[str, object]) -> None:
    """Remove bridge, plugs and rules, and restore what `before` found."""
    if Path("/sys/class/net", BRIDGE).exists():
        for plug in json.loads(_run("ip", "-json", "link", "show", "master", BRIDGE) or "[]"):
            _run("ip", "link", "delete", plug["ifname"], check=False)
        _run("ip", "link", "delete", BRIDGE)
    for program in _FAMILIES.values():
        _remove_rules(program)
    tables = found.get("tables")
    if isinstance(tables, list):
        _remove_empty_tables(frozenset(tables))
    settings = found.get("settings")
    if isinstance(settings, dict):
        for name, value in settings.items():
            Path("/proc/sys", name).write_text(value)


def _settings() -> Iterator[tuple[str, str]]:
    for name in _SETTINGS:
        path = Path("/proc/sys", name)
        if path.exists():
            yield name, path.read_text().strip()


def _rules(program: str) -> list[str]:
    if shutil.which(f"{program}-save") is None:
        return []
    return _run(f"{program}-save", check=False).splitlines()


def _remove_rules(program: str) -> None:
    """Remove kube-proxy's chains and the jumps to them, each table at once."""
    commands: list[str] = []
    chains: list[str] = []
    for line in _rules(program):
        if line.startswith("*"):
            commands.append(line)
            chains = []
        elif line.startswith(":KUBE-"):
            commands.append(line)  # named again, a chain is emptied
            chains.append(line.split()[0][1:])
        elif line.startswith("-A ") and not line.startswith("-A KUBE-") and " -j KUBE-" in line:
            commands.append(line.replace("-A ", "-D ", 1))
        elif line == "COMMIT":
            commands += [*(f"-X {chain}" for chain in chains), line]
    if any(line.startswith((":", "-")) for line in commands):
        _run(f"{program}-restore", "--noflush", stdin="\n".join([*commands, ""]))


def _nft_tables() -> set[str]:
    if shutil.which("nft") is None:
        return set()
    listed = json.loads(_run("nft", "--json", "list", "tables"))["nftables"]
    return {f"{item['table']['family']} {item['table']['name']}" for item in listed if "table" in item}


def _remove_empty_tables(kept: frozenset[str]) -> None:
    """iptables makes its tables when it is first used; without rules they say nothing."""
    for table in _nft_tables() - kept:
        family, name = table.split()
        if family not in _FAMILIES or name not in _IPTABLES_TABLES:
            continue
        listed = json.loads(_run("nft", "--json", "list", "table", family, name))["nftables"]
        if not any("rule" in item for item in listed):
            _run("nft", "delete", "table", family, name)


def _run(*command: str, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise TestbedError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
