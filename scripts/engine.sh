#!/bin/sh
# An engine for the images' test (tests/soak/test_images.py), where there is none: podman, and mmdebstrap for a
# base image where none can be pulled. Without the right to install them they are asked for.
set -eu
packages="podman buildah runc mmdebstrap"
if command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1; then exit 0; fi
if command -v podman >/dev/null 2>&1 && command -v mmdebstrap >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  # $packages is a list: it is meant to fall apart
  # shellcheck disable=SC2086
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    $packages >/dev/null; } || echo "not installed: $packages; images are not tested" >&2
else
  echo "not installed: $packages; e.g. sudo apt-get install $packages" >&2
fi
