"""Mounts that containers need."""

import shutil
import subprocess
from pathlib import Path

from testbed import packages
from testbed.errors import TestbedError


def overlay_works(folder: Path) -> bool:
    """Whether the file system of `folder` carries an overlay; another overlay, for one, does not."""
    probe = folder / "probe"
    for name in ("lower", "upper", "work", "merged"):
        (probe / name).mkdir(parents=True)
    options = ",".join(f"{name}dir={probe / name}" for name in ("lower", "upper", "work"))
    merged = str(probe / "merged")
    mount: list[str | Path] = [packages.path("mount"), "-t", "overlay", "overlay", "-o", options, merged]
    works = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if works:
        subprocess.run([packages.path("umount"), merged], check=True)
    shutil.rmtree(probe)
    return works


def unmount_below(folder: Path) -> None:
    """Unmount all below `folder`, the last mounted first.

    Raises:
        TestbedError: when something stays mounted: what is removed there would be removed elsewhere.
    """
    for point in reversed(_below(folder)):
        subprocess.run([packages.path("umount"), "--lazy", point], capture_output=True, check=False)
    left = _below(folder)
    if left:
        raise TestbedError(f"Still mounted, unmount by hand: {' '.join(left)}")


def _below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in points if point.startswith(f"{folder}/")]
