"""A throw-away environment for the peers: what we have, and beside it what only they need."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

PEERS = ("geoai", "terratorch")
PACKAGES = ("geoai-py", "terratorch")
LEFT_OUT = ("torch", "torchvision", "lightning")
"""What comes from our environment: another Torch would be measured, not another program."""
IMPORTS = {
    "geoai": "geoai.inference, geoai.utils",
    "terratorch": "terratorch.tasks.tiled_inference",
}


def environment(folder: Path) -> Path | None:
    """Return the Python of an environment with the peers; None where it cannot be made."""
    python = folder / "bin" / "python"
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        never = folder.with_suffix(".txt")
        never.write_text("".join(f"{name}; python_version < '3'\n" for name in LEFT_OUT))
        uv = [sys.executable, "-m", "uv"]
        install = [*uv, "pip", "install", "--quiet", "--python", str(python)]
        makes = [
            [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [*install, "--overrides", str(never), *PACKAGES],
        ]
        for command in makes:
            if subprocess.run(command, check=False, env=dict(os.environ)).returncode:
                return None
        site = next(folder.glob("lib/python*/site-packages"))
        ours = sysconfig.get_path("purelib")
        (site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        (folder / "done").write_text("")
    return python


def why_not(python: Path | None, name: str) -> str | None:
    """Say why a peer cannot run; None if it can."""
    if python is None:
        return "does not install here"
    command = [str(python), "-c", f"import {IMPORTS[name]}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
