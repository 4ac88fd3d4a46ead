#!/bin/sh
# Make .venv (CPython >= 3.12) from requirements.lock. A second run only compares a stamp.
#   PYTHON=/path/to/python3.13 sh scripts/bootstrap.sh     picks the interpreter by hand
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
venv="$root/.venv"
lock=requirements.lock
needed_gb=10 # 7 GB installed (torch brings its CUDA libraries on Linux) and the downloads beside it
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV CONDA_PREFIX PIP_USER PIP_TARGET PIP_PREFIX UV_PYTHON 2>/dev/null || true
# Trust the machine's own certificates, as pip does: uv's bundled ones fail behind a TLS-inspecting proxy.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=0 UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1

say() { printf 'bootstrap: %s\n' "$*" >&2; }

fingerprint() { # where it lies, what it holds, how it is made; not the settings of the linters
  { printf '%s\n' "$root"; cat "$lock" scripts/bootstrap.sh; sed '/^\[tool/,$d' pyproject.toml; } |
    cksum | tr ' ' '-'
}

# Print the real path of a candidate that is CPython >= 3.12 able to make a venv. It is run, not merely
# found: a pyenv shim exists for every version of which one is installed, and exits 127 when it is not active.
probe() {
  "$1" -I -c 'import sys
if sys.version_info < (3, 12) or sys.implementation.name != "cpython":
    sys.exit(1)
import ensurepip, venv
print(getattr(sys, "_base_executable", "") or sys.executable)' 2>/dev/null
}

homes() { # the user's home folders, with HOME unset or overridden too
  [ -n "${HOME:-}" ] && printf '%s\n' "$HOME"
  me=$(id -un 2>/dev/null || true)
  [ -n "$me" ] && eval "home=~$me" && [ -d "$home" ] && printf '%s\n' "$home"
  :
}

candidates() {
  for v in 3.12 3.13 3.14; do printf 'python%s\n' "$v"; done
  printf 'python3\npython\n'
  for v in 3.12 3.13 3.14; do
    { [ -n "${PYENV_ROOT:-}" ] && printf '%s\n' "$PYENV_ROOT"
      printf '%s\n' "$PATH" | tr ':' '\n' | sed -n 's#^\(.*\)/shims/*$#\1#p'
      homes | sed 's#$#/.pyenv#'
    } | while IFS= read -r pyenv; do ls -d "$pyenv/versions/$v".*/bin/python3 2>/dev/null || :; done
    homes | while IFS= read -r home; do
      ls -d "$home/.local/share/uv/python/cpython-$v".*/bin/python3 2>/dev/null || :
    done
    printf '%s\n' "/opt/homebrew/bin/python$v" "/usr/local/bin/python$v" \
      "/Library/Frameworks/Python.framework/Versions/$v/bin/python3"
  done
}

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    probe "$PYTHON" || say "PYTHON=$PYTHON is not a CPython >= 3.12 with venv and ensurepip"
    return 0
  fi
  candidates | while IFS= read -r candidate; do
    case $candidate in /*) [ -x "$candidate" ] || continue ;; esac
    if probe "$candidate"; then break; fi
  done
}

find_uv() { # one that runs
  { printf 'uv\n'; homes | sed 's#$#/.local/bin/uv#'; homes | sed 's#$#/.cargo/bin/uv#'; } |
    while IFS= read -r uv; do
      if "$uv" --version >/dev/null 2>&1; then command -v "$uv"; break; fi
    done
}

want=$(fingerprint)
if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$want" ] &&
  "$venv/bin/python" -c pass 2>/dev/null; then
  exit 0
fi

free_gb=$(($(df -Pk "$root" | awk 'NR == 2 {print $4}') / 1048576))
if [ "$free_gb" -lt "$needed_gb" ]; then
  say "found $free_gb GB free on the disk of $root, but the environment needs $needed_gb GB"
  say "(7 GB, most of it PyTorch with its GPU libraries, and the downloads). Free some space, or clone onto a larger disk."
  exit 1
fi

start=$(date +%s)
rm -rf "$venv"
python=$(find_python)
uv=$(find_uv || true)
if [ -n "$python" ]; then
  say "$("$python" -V) at $python"
  if [ -n "$uv" ]; then
    "$uv" venv --quiet --no-project --no-config --python "$python" "$venv"
  else
    "$python" -m venv "$venv"
  fi
elif [ -z "${PYTHON:-}" ] && [ -n "$uv" ]; then
  say "no Python >= 3.12 found: uv fetches one"
  "$uv" venv --quiet --no-project --no-config --python '>=3.12,<3.15' "$venv"
else
  say "no Python >= 3.12 found. Install Python 3.12 or uv (https://docs.astral.sh/uv/),"
  say "or name an interpreter: PYTHON=/path/to/python3.12 make demo"
  exit 1
fi

say "installing the packages of $lock: about 3 GB to download and 7 GB on disk, because of PyTorch ..."
if [ -z "$uv" ] && "$venv/bin/python" -m pip install --quiet uv 2>/dev/null; then uv="$venv/bin/uv"; fi
with_uv() {
  [ -n "$uv" ] &&
    "$uv" pip install --quiet --no-config --compile-bytecode --python "$venv/bin/python" -r "$lock" &&
    "$uv" pip install --quiet --no-config --python "$venv/bin/python" --no-deps --editable .
}
with_pip() { # a venv made by uv has no pip
  { "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null; } &&
    "$venv/bin/python" -m pip install --quiet --requirement "$lock" &&
    "$venv/bin/python" -m pip install --quiet --no-deps --editable .
}
with_uv || { [ -z "$uv" ] || say "uv could not install; trying pip"; with_pip; }
printf '%s\n' "$want" >"$venv/.stamp"
say "ready: $("$venv/bin/python" -V) in .venv, installed in $(($(date +%s) - start)) s"
