"""Builds Dockerfiles without Docker and without a registry, by buildah.

What a Dockerfile names in FROM is made here once, from the distribution's packages, under that very name; so the
Dockerfile that users build is the one that is tested.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from testbed import cache, mounts, packages
from testbed.binaries import Binaries
from testbed.errors import TestbedError

BASE = "docker.io/library/python:3.11-slim-bookworm"
HELM = "docker.io/alpine/helm:4.3.1"

_SUITE = "bookworm"
_MIRROR = "http://deb.debian.org/debian"
_BASE_PACKAGES = ("python3-minimal", "python3-venv", "ca-certificates")
# Not part of an image: what the host mounts, and the package manager's downloads.
_LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")
# Where the real image has its Python; Debian has it a folder further up.
_ALIASES = ("python", "python3", "python3.11")
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'


def what_is_missing() -> str | None:
    """Why images cannot be built by this user on this machine; nothing if they can."""
    if os.geteuid() != 0:
        return "building images without Docker needs root"
    lacking = packages.missing(packages.IMAGES)
    return f"building images needs: {' '.join(lacking)}" if lacking and not packages.installable() else None


def build(context: Path, tag: str) -> Path:
    """Build the Dockerfile in `context` and return its image as a docker-archive, in which it is called `tag`.

    Layers are kept, so nothing is done again while what they were made from is the same; the archive is kept by the
    image's digest.

    Raises:
        TestbedError: with the end of the build's output, or naming what has to be installed.
    """
    buildah = prepare()
    identity = buildah.build(context, tag)
    name = re.sub(r"[^a-z0-9]+", "-", tag.rpartition("/")[2].lower())

    def make(folder: Path) -> None:
        buildah.run("push", identity, f"docker-archive:{folder / 'image.tar'}:{tag}")

    return cache.once(cache.root() / "images" / f"{name}-{identity[:12]}", make) / "image.tar"


def prepare() -> "Buildah":
    """Have what every build needs: the programs, the base image and Helm's, which are made the first time.

    Raises:
        TestbedError: naming what has to be installed.
    """
    reason = what_is_missing()
    if reason:
        raise TestbedError(f"No image: {reason}.")
    packages.ensure(packages.IMAGES)
    buildah = Buildah()
    buildah.provide_base()
    buildah.provide_helm()
    return buildah


class Buildah:
    """buildah with a storage of its own in our cache."""

    def __init__(self) -> None:
        self._folder = cache.root() / "buildah"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._policy = self._folder / "policy.json"
        self._policy.write_text(_POLICY)
        self._registries = self._folder / "registries.conf"
        self._registries.write_text("")
        self._driver = self._chosen_driver()

    def run(self, *arguments: str | Path) -> str:
        """What it prints, the last line stripped."""
        storage = [f"--root={self._folder / 'storage'}", f"--runroot={self._folder / 'run'}"]
        done = subprocess.run(
            [
                packages.path("buildah"),
                *storage,
                f"--storage-driver={self._driver}",
                f"--registries-conf={self._registries}",
                arguments[0],
                *([f"--signature-policy={self._policy}"] if arguments[0] in {"bud", "push", "commit", "from"} else []),
                *arguments[1:],
            ],
            env={**os.environ, "PATH": packages.search_path(), "BUILDAH_ISOLATION": "chroot", "STORAGE_OPTS": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            output = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-30:])
            raise TestbedError(f"`buildah {arguments[0]}` failed:\n{output}")
        return done.stdout.strip()

    def build(self, context: Path, tag: str) -> str:
        """The new image's digest, without `sha256:`."""
        record = self._folder / f"{os.getpid()}.id"
        mounted = [f"--volume={volume}" for volume in self._host_settings()]
        self.run("bud", "--layers", "--network=host", f"--iidfile={record}", *mounted, f"--tag={tag}", context)
        identity = record.read_text().removeprefix("sha256:")
        record.unlink()
        return identity

    def provide_base(self) -> None:
        """Have the base image in the storage, made from Debian's packages the first time."""
        layer = _base_layer()
        settings = ("--env=PATH=/usr/local/bin:/usr/bin:/bin", "--cmd=python3")
        self._provide(BASE, "base", layer.parent.name, (layer, "/"), settings)

    def provide_helm(self) -> None:
        """Have an image in the storage that holds Helm where the published one has it."""
        program = Binaries().path("helm")
        self._provide(HELM, "helm", program.parent.name, (program, "/usr/bin/helm"), ("--cmd=/usr/bin/helm",))

    def _provide(self, name: str, local: str, label: str, content: tuple[Path, str], settings: tuple[str, ...]) -> None:
        """Have an image of that name in the storage, made of one file; `label` says which version of it."""
        with cache.locked(self._folder / f"{local}.lock"):
            if label in self.run("images", "--noheading", "--format={{.Tag}}", f"--filter=reference=localhost/{local}"):
                return
            container = self.run("from", "scratch")
            try:
                self.run("add", container, *content)
                self.run("config", *settings, container)
                for known_as in (name, f"localhost/{local}:{label}"):
                    self.run("commit", container, known_as)
            finally:
                self.run("rm", container)

    def _chosen_driver(self) -> str:
        note = self._folder / "driver"
        if not note.exists():
            with cache.locked(self._folder / "driver.lock"):
                note.write_text("overlay" if mounts.overlay_works(self._folder) else "vfs")
        return note.read_text()

    def _host_settings(self) -> list[str]:
        """How this machine reaches its package index, for pip in the build: its settings and its authorities."""
        settings = _pip_settings()
        authorities = settings.pop("cert", None) or os.environ.get("SSL_CERT_FILE")
        volumes = []
        if authorities and Path(authorities).exists():
            settings["cert"] = "/etc/pip-authorities.crt"
            volumes.append(f"{Path(authorities).resolve()}:{settings['cert']}:ro")
        if settings:
            path = self._folder / "pip.conf"
            path.write_text("".join(["[global]\n", *(f"{key} = {value}\n" for key, value in settings.items())]))
            volumes.append(f"{path}:/etc/pip.conf:ro")
        return volumes


def _pip_settings() -> dict[str, str]:
    """Those of pip's settings that say where packages come from; the environment's win over files."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    wanted = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout", "default-timeout")
    found: dict[str, str] = {}
    for line in sorted(listed.splitlines(), reverse=True):  # `:env:` sorts before `global`, so it comes last
        source, _, value = line.partition("=")
        key = source.rpartition(".")[2]
        if key in wanted:
            found[key.removeprefix("default-")] = str(ast.literal_eval(value)).replace("\n", "\n    ")
    return found


def _base_layer() -> Path:
    """A small Debian with Python, as a tar file."""

    def make(folder: Path) -> None:
        print("Making the base image from Debian packages (once; typically 1 min) ...", flush=True)
        root = folder / "root"
        _run(
            packages.path("debootstrap"),
            "--variant=minbase",
            f"--include={','.join(_BASE_PACKAGES)}",
            _SUITE,
            root,
            _mirror(),
        )
        for alias in _ALIASES:
            (root / "usr/local/bin" / alias).symlink_to("/usr/bin/python3")
        left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
        _run(packages.path("tar"), "--create", f"--file={folder / 'layer.tar'}", f"--directory={root}", *left_out, ".")
        _run(packages.path("rm"), "-rf", "--one-file-system", root)

    return cache.once(cache.root() / "images" / f"python-{_SUITE}-1", make) / "layer.tar"


def _mirror() -> str:
    """The one that apt is set up with here, where that is Debian's."""
    apt = packages.find("apt-get")
    if apt is None:
        return _MIRROR
    form = "--format=$(SITE) $(CODENAME) $(RELEASE) $(ORIGIN)"
    listed = subprocess.run([apt, "indextargets", form], capture_output=True, text=True, check=False)
    for line in listed.stdout.splitlines():
        site, *words = line.split()
        if _SUITE in words and "Debian" in words:
            return site
    return _MIRROR


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        command, env={**os.environ, "PATH": packages.search_path()}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        output = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-20:])
        raise TestbedError(f"`{Path(command[0]).name}` failed:\n{output}")
