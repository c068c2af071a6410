"""Programs of the distribution that a real node and the image builder use; everything else is built here."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed import cache
from testbed.errors import TestbedError

NODE: Mapping[str, tuple[str, ...]] = {
    "containerd": ("containerd", "ctr", "containerd-shim-runc-v2"),
    "runc": ("runc",),
    "containernetworking-plugins": ("bridge", "host-local", "loopback"),
    "iptables": ("iptables-save", "iptables-restore"),
    "iproute2": ("ip",),
    "conntrack": ("conntrack",),
    "nftables": ("nft",),
}
IMAGES: Mapping[str, tuple[str, ...]] = {
    "buildah": ("buildah",),
    "debootstrap": ("debootstrap",),
}

_SYSTEM = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
# Where distributions put the network plugins.
_PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")


def search_path() -> str:
    """PATH with the system's folders first, which root's own sometimes lacks."""
    return ":".join((*_SYSTEM, os.environ.get("PATH", "")))


def find(program: str) -> Path | None:
    """Its absolute path, if it is installed."""
    found = shutil.which(program, path=":".join((search_path(), *_PLUGINS)))
    return Path(found) if found else None


def path(program: str) -> Path:
    """Its absolute path.

    Raises:
        TestbedError: when it is not installed.
    """
    found = find(program)
    if found is None:
        raise TestbedError(f"`{program}` is not installed.")
    return found


def missing(wanted: Mapping[str, Iterable[str]]) -> list[str]:
    """The packages of which some program is not installed."""
    return [package for package, names in wanted.items() if not all(find(name) for name in names)]


def installable() -> bool:
    """Whether this user may install packages, in a way that is known here."""
    return os.geteuid() == 0 and shutil.which("apt-get", path=search_path()) is not None


def ensure(wanted: Mapping[str, Iterable[str]]) -> None:
    """Install what is missing; nothing installed is ever removed for it.

    Raises:
        TestbedError: naming the packages, when they cannot be installed from here.
    """
    lacking = missing(wanted)
    if not lacking:
        return
    command = f"apt-get install {' '.join(lacking)}"
    if not installable():
        raise TestbedError(f"These packages are missing: {' '.join(lacking)}. On Debian and Ubuntu, as root: {command}")
    print(f"Installing {' '.join(lacking)} ...", flush=True)
    with cache.locked(cache.root() / "packages.lock"):
        _apt("update", "--quiet")
        _apt("install", "--yes", "--quiet", "--no-install-recommends", "--no-remove", *lacking)


def _apt(action: str, *arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "--option=DPkg::Lock::Timeout=300", action, *arguments],
        env={**os.environ, "PATH": search_path(), "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TestbedError(f"`apt-get {action}` failed:\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
