"""Container images without Docker."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from testbed import cache
from testbed.binaries import Binaries
from testbed.nodeconfig import PAUSE_IMAGE

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def pause_archive(binaries: Binaries) -> Path:
    """The image of the process that holds a pod together, as a docker-archive."""
    program = binaries.path("pause")

    def make(folder: Path) -> None:
        _write_archive(folder / "image.tar", PAUSE_IMAGE, program)

    return cache.once(cache.root() / "images" / program.parent.name, make) / "image.tar"


def _write_archive(path: Path, tag: str, program: Path) -> None:
    """An image of one layer with one static program in it."""
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    configuration = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(configuration).encode(),
        "layer.tar": layer,
        "manifest.json": json.dumps(manifest).encode(),
    }
    path.write_bytes(_tar(files, mode=0o644))


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
