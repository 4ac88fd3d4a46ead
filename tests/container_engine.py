"""Docker, or podman with what it needs where there is no init system and no registry."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PULL_S = 60
LIMIT = 4096
"""Of open files and of processes in a container."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PYTHON_LIBRARIES = ("libssl3", "libffi8", "libsqlite3-0", "zlib1g", "libbz2-1.0", "liblzma5",
                    "libncursesw6", "libuuid1", "libreadline8")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Builds images and runs containers."""

    program: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_podman(self) -> bool:
        """Say whether it is podman."""
        return Path(self.program).name == "podman"

    def __call__(
        self, *arguments: object, timeout_s: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the engine; what it printed is kept."""
        return subprocess.run(
            [self.program, *map(str, arguments)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def must(self, *arguments: object) -> str:
        """Run a command that has to succeed, and return what it printed."""
        done = self(*arguments)
        assert done.returncode == 0, f"{arguments}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def build(self, file: Path, context: Path, tag: str) -> None:
        """Build an image from a file; podman keeps health checks in Docker's format alone."""
        form = ("--format", "docker") if self.is_podman else ()
        self.must("build", *form, "--file", file, "--tag", tag, context)

    def run(self, image: str, *command: object, options: Sequence[object] = ()) -> str:
        """Run a command in a container on the network of this machine."""
        return self.must("run", *self.plain, "--rm", *options, image, *command)

    @property
    def plain(self) -> tuple[str, ...]:
        """Options of every container: timers of a health check need an init system."""
        return ("--network", "host", "--no-healthcheck")


def find_engine(folder: Path) -> Engine | None:
    """Return an engine that works here, or None; ``folder`` is for its settings."""
    docker, podman = shutil.which("docker"), shutil.which("podman")
    if docker and (engine := Engine(program=docker))("info").returncode == 0:
        return engine
    if podman is None:
        return None
    # a limit may be lowered by whoever has no right to raise it
    limits = [
        f"{name}={least}:{least}"
        for name, hard in (
            ("nofile", resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
            ("nproc", resource.getrlimit(resource.RLIMIT_NPROC)[1]),
        )
        if (least := LIMIT if hard == resource.RLIM_INFINITY else min(hard, LIMIT))
    ]
    settings = folder / "containers.conf"
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    settings.write_text(
        f"[containers]\ndefault_ulimits = {limits}\n"
        f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n{runtime}'
    )
    environment = {"CONTAINERS_CONF": str(settings), "BUILDAH_ISOLATION": "chroot"}
    engine = Engine(program=podman, environment=environment)
    return engine if engine("info").returncode == 0 else None


def base_of(file: Path) -> str:
    """Return the name of the image that a file begins with."""
    line = next(line for line in file.read_text().splitlines() if line.startswith("FROM "))
    return line.split()[1]


def has_base(engine: Engine, image: str) -> str:
    """Pull an image, or put a stand-in in its place; return which, or nothing."""
    try:
        if engine("pull", image, timeout_s=PULL_S).returncode == 0:
            return "pulled"
    except subprocess.TimeoutExpired:
        pass
    if not engine.is_podman or shutil.which("mmdebstrap") is None:
        return ""
    _make_base(engine, image)
    return "stand-in"


def _make_base(engine: Engine, image: str) -> None:
    """Make an image of Debian's packages and the Python that runs this."""
    suite = image.rpartition("-")[2]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        packages = ",".join(("ca-certificates", "netbase", "tzdata", *PYTHON_LIBRARIES))
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", suite,
             folder / "debian.tar"],
            check=True,
        )  # fmt: skip
        python = Path(sys.base_prefix)
        shutil.copytree(python, folder / "python", symlinks=True, ignore=_not_ours)
        if CERTIFICATES.is_file():  # of this network, which may have its own
            shutil.copy(CERTIFICATES, folder / "certificates.crt")
        else:
            (folder / "certificates.crt").touch()
        (folder / "Dockerfile").write_text(
            "FROM scratch\nADD debian.tar /\nCOPY python /usr/local\n"
            f"COPY certificates.crt {CERTIFICATES}\n"
            f"ENV SSL_CERT_FILE={CERTIFICATES} PIP_CERT={CERTIFICATES}\n"
            "RUN ldconfig && python --version\n"
        )
        engine.build(folder / "Dockerfile", folder, f"docker.io/library/{image}")


def _not_ours(folder: str, names: list[str]) -> set[str]:
    """Leave out what was installed into the Python beside pip, and its tests."""
    if Path(folder).name == "site-packages":
        return {name for name in names if not name.startswith("pip")}
    return {"test", "__pycache__"} & set(names)
