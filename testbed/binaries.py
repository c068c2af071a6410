"""Kubernetes and its companions, built once from pinned Go modules and always called by absolute path."""

import hashlib
import importlib.util
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed import cache
from testbed.errors import TestbedError
from testbed.modules import OF_PROGRAM, Module

CONTROL_PLANE = ("etcd", "kube-apiserver", "kubectl")
CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "kwok", "helm")
NODE = ("kubelet", "kube-proxy", "coredns", "pause")
MONITORING = ("prometheus", "promtool", "alertmanager")
GITOPS = ("argocd", "argocd-cache", "helm")
# What benchmarks run beside the operator.
PEERS = ("rollouts-controller",)

# Whoever has these from setup-envtest or a distribution need not build them.
_PREBUILT = frozenset(
    {"etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}
)
_REPORT_EVERY = 30.0


class Binaries:
    """Finds a program by name; builds what is missing."""

    def __init__(self, prebuilt: Path | None = None) -> None:
        """Look in `prebuilt` first, by default the folder that `KUBEBUILDER_ASSETS` names."""
        named = os.environ.get("KUBEBUILDER_ASSETS")
        self._prebuilt = prebuilt or (Path(named) if named else None)

    @classmethod
    def ensure(cls, programs: Iterable[str]) -> "Binaries":
        """Build what is missing for `programs`, telling on stdout how far it is."""
        binaries = cls()
        missing = {OF_PROGRAM[name].name: OF_PROGRAM[name] for name in programs if not binaries._ready(name)}
        started = time.monotonic()
        for number, module in enumerate(missing.values(), 1):
            _build(module, f"{number} of {len(missing)}")
        if missing:
            _say(f"Built all in {_duration(time.monotonic() - started)}; kept in {_folder_of_all()}")
        return binaries

    def path(self, program: str) -> Path:
        """The absolute path of `program`, which is built now if it has not been.

        Raises:
            TestbedError: when it cannot be built.
        """
        found = self._find_prebuilt(program)
        if found:
            return found
        module = OF_PROGRAM[program]
        return _build(module, "1 of 1") / program

    def asset(self, module: Module, name: str) -> Path:
        """A file of the module's own that is kept beside its programs."""
        return _build(module, "1 of 1") / "assets" / name

    def _find_prebuilt(self, program: str) -> Path | None:
        if self._prebuilt is None or program not in _PREBUILT:
            return None
        candidate = (self._prebuilt / program).absolute()
        return candidate if os.access(candidate, os.X_OK) else None

    def _ready(self, program: str) -> bool:
        return self._find_prebuilt(program) is not None or _folder(OF_PROGRAM[program]).is_dir()


def go() -> Path:
    """The Go toolchain of the virtual environment.

    Raises:
        TestbedError: when the development dependencies are not installed.
    """
    spec = importlib.util.find_spec("go")
    program = Path(spec.origin).parent / "bin" / "go" if spec and spec.origin else None
    if program is None or not program.exists():
        raise TestbedError("The Go toolchain is missing: run this through make, or install requirements/dev.txt.")
    return program


def go_environment() -> dict[str, str]:
    """The environment for Go: what reaches the module proxy is the user's, what decides the result is ours."""
    ours = {
        "GOROOT": str(go().parent.parent),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }
    foreign = ("GOOS", "GOARCH", "GOEXPERIMENT", "GO111MODULE", "GOENV")
    return {key: value for key, value in os.environ.items() if key not in foreign} | ours


def _folder_of_all() -> Path:
    return cache.root() / "binaries"


def _folder(module: Module) -> Path:
    return _folder_of_all() / f"{module.name}-{module.version}-{_digest(module)}"


def _digest(module: Module) -> str:
    """Of everything that decides the result."""
    digest = hashlib.sha256()
    for path in sorted(module.folder.iterdir()):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    toolchain = (go().parent.parent / "VERSION").read_text().splitlines()[0]
    recipe = [toolchain, platform.machine(), _arguments(module), sorted(module.programs.items()), module.assets]
    digest.update(json.dumps(recipe).encode())
    return digest.hexdigest()[:12]


def _arguments(module: Module) -> list[str]:
    number = module.version.removeprefix("v")
    major, minor, *_ = [*number.split("."), ""]
    words: Mapping[str, str] = {"version": module.version, "number": number, "major": major, "minor": minor}
    variables = [f"-X {variable.format(**words)}" for variable in module.variables]
    return [
        "build",
        f"-ldflags={' '.join(['-s', '-w', *variables])}",
        *([f"-tags={','.join(module.tags)}"] if module.tags else []),
    ]


def _build(module: Module, position: str) -> Path:
    def make(folder: Path) -> None:
        typically = _duration(module.typical)
        _say(f"Building {position}: {module.name} {module.version} (once; typically {typically} on two cores)")
        started = time.monotonic()
        with _Heartbeat(module.name):
            _compile(module, folder)
            _keep_assets(module, folder)
        _say(f"Built {module.name} in {_duration(time.monotonic() - started)}")

    return cache.once(_folder(module), make)


def _compile(module: Module, folder: Path) -> None:
    out = folder / "out"
    out.mkdir()
    _go(module, *_arguments(module), "-o", f"{out}/", *module.programs.values())
    for program, package in module.programs.items():
        (out / _built_name(package, module)).rename(folder / program)
    out.rmdir()


def _built_name(package: str, module: Module) -> str:
    """Go names a program after the last word of its package that is no major version."""
    words = [word for word in package.split("/") if not (word.startswith("v") and word[1:].isdigit())]
    return module.name if package == "." else words[-1]


def _keep_assets(module: Module, folder: Path) -> None:
    if not module.assets:
        return
    source = Path(_go(module, "list", "-m", "-f", "{{.Dir}}", module.path).strip())
    (folder / "assets").mkdir()
    for asset in module.assets:
        (folder / "assets" / Path(asset).name).write_bytes((source / asset).read_bytes())


def _go(module: Module, *arguments: str) -> str:
    done = subprocess.run(
        [go(), *arguments], cwd=module.folder, env=go_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise TestbedError(
            f"`go {arguments[0]}` failed for {module.name}:\n{tail}\n"
            "Building needs the Go module proxy (or what GOPROXY names) and about 5 GB of disk; then try again."
        )
    return done.stdout


class _Heartbeat:
    """Says now and then that a long build is still going on."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _report(self) -> None:
        started = time.monotonic()
        while not self._done.wait(_REPORT_EVERY):
            _say(f"  ... {self._what}: {_duration(time.monotonic() - started)} so far")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _say(line: str) -> None:
    print(line, flush=True)
