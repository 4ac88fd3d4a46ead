#!/bin/sh
# Servers for tests/services: a STAC API over PostgreSQL, and what checks the files of deploy/. They live
# in .services/, an environment of their own, so that none of their versions reaches the pipeline's.
# PostgreSQL, PostGIS, nginx and Chromium come from the system's packages; without the right to install them
# they are asked for, and the tests that need them are skipped.
set -eu
cd "$(dirname "$0")/.."
export UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1

packages=
extensions=${POSTGRESQL_SHARE:-/usr/share/postgresql}
if ! ls "${POSTGRESQL:-/usr/lib/postgresql}"/*/bin/initdb >/dev/null 2>&1 &&
  ! command -v initdb >/dev/null 2>&1; then
  packages="postgresql postgis postgresql-postgis"
elif ls -d "$extensions"/*/extension >/dev/null 2>&1 &&
  ! ls "$extensions"/*/extension/postgis.control >/dev/null 2>&1; then
  packages="postgis postgresql-postgis"
fi
command -v nginx >/dev/null 2>&1 || packages="$packages nginx-light"
if [ -n "$packages" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # $packages is a list: it is meant to fall apart
    # shellcheck disable=SC2086
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends $packages >/dev/null; }; then
      echo "not installed: $packages; the tests that need them are skipped" >&2
    fi
  else
    echo "not installed: $packages; e.g. sudo apt-get install $packages" >&2
  fi
fi

# the browser of tests/browser; apart, as not every system has a package of that name
if ! command -v chromium >/dev/null 2>&1 && ! command -v google-chrome >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends chromium >/dev/null; } ||
      echo "not installed: chromium; tests/browser is skipped" >&2
  else
    echo "not installed: chromium; e.g. sudo apt-get install chromium" >&2
  fi
fi

stamp=.services/stamp
wanted=$(cksum < scripts/services.txt)
if [ "$(cat $stamp 2>/dev/null || true)" = "$wanted" ]; then
  exit 0
fi
rm -rf .services
.venv/bin/python -m uv venv --no-config --quiet --python .venv/bin/python .services
.venv/bin/python -m uv pip install --no-config --quiet --compile-bytecode --python .services \
  -r scripts/services.txt
echo "$wanted" > $stamp
