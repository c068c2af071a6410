"""Container images as files in the docker-archive format, written by hand."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from testbed import cache
from testbed.binaries import Binaries

PAUSE_IMAGE = "docker.io/rollback-operator/pause:1"

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def pause(binaries: Binaries) -> Path:
    """The image of the process that holds a pod together."""
    program = binaries.path("pause")

    def make(folder: Path) -> None:
        (folder / "image.tar").write_bytes(_image(PAUSE_IMAGE, program))

    return cache.once(cache.root() / "images" / program.parent.name, make) / "image.tar"


def _image(tag: str, program: Path) -> bytes:
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
    return _tar(files, mode=0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
