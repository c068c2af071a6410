"""Mounts that containers need."""

import shutil
import subprocess
from pathlib import Path

from testbed import packages


def overlay_works(folder: Path) -> bool:
    """Whether the file system of `folder` carries an overlay; another overlay, for one, does not."""
    probe = folder / "probe"
    for name in ("lower", "upper", "work", "merged"):
        (probe / name).mkdir(parents=True)
    options = ",".join(f"{name}dir={probe / name}" for name in ("lower", "upper", "work"))
    merged = str(probe / "merged")
    mount = [packages.path("mount"), "-t", "overlay", "overlay", "-o", options, merged]
    works = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if works:
        subprocess.run([packages.path("umount"), merged], check=True)
    shutil.rmtree(probe)
    return works


def unmount_below(folder: Path) -> None:
    """Unmount all below `folder`, the last mounted first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in reversed(points):
        if point.startswith(f"{folder}/"):
            subprocess.run([packages.path("umount"), "--lazy", point], capture_output=True, check=False)
