"""Where a stranger's catalog may not lead: to other files and hosts, or to absurd rasters."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

import requests

from rockglacier_stac.errors import CatalogError, refused
from rockglacier_stac.providers import provider_of

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LARGEST_EDGE: Final = 10**7
"""Pixels along a raster: the globe at 4 m."""
METADATA_HOSTS: Final = frozenset({"metadata", "metadata.google.internal", "instance-data"})
METADATA_ADDRESSES: Final = frozenset({"100.100.100.200", "fd00:ec2::254", "192.0.0.192"})
SCHEMES: Final = frozenset({"http", "https", "s3", "gs", "az", "abfs", "file", "memory"})
PRIVATE_NETWORKS: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""RFC 1918, RFC 6598, RFC 4193."""
ASK_S: Final = (10, 20)
"""To connect, and for the first byte of a raster."""
HOSTS: Final = "ROCKGLACIER_HOSTS"
"""Environment: hosts of a private network, apart by commas, to which catalogs of the internet may
lead."""
ROOTS: Final = "ROCKGLACIER_ROOTS"
"""Environment: folders, apart by the path separator, to which catalogs on this machine may lead
beside their own folder and that of the study."""


def check_href(href: str, *, base: str, roots: Iterable[str | Path] = ()) -> str:
    """Return an address of a catalog if it may be followed.

    Parameters
    ----------
    href
        Absolute.
    base
        Path or URL of the document that says it.
    roots
        Folders to whose files it may lead, beside that of the document and those of the environment
        variable ``ROCKGLACIER_ROOTS``.

    Raises
    ------
    CatalogError
        It leads from a server to a file of this machine, or out of the allowed folders; to an
        address that only this machine or its network sees, link-local and metadata services among
        them; or it is no address.

    Notes
    -----
    Where the document comes from the internet, names of hosts are looked up: one may mean an
    address of a private network. :data:`HOSTS` allows those that are meant.
    """
    scheme = urlsplit(href).scheme.lower() if "://" in href else ""
    if scheme and scheme not in SCHEMES:
        raise refused(href, base, f"the scheme {scheme!r}", "https, s3, gs, az or a path")
    if "\x00" in href or "\n" in href:
        raise refused(href, base, "a control character", "an address")
    # a server on this machine is the person's own
    is_remote = "://" in base and not base.startswith("file://") and not _is_own(_host(base))
    if scheme in ("", "file"):
        if is_remote:
            raise refused(href, base, "a file of this machine", "an address that anybody can read")
        _check_file(href, base, roots)
    else:
        _check_host(href, base)
        if ".." in unquote(urlsplit(href).path).split("/"):
            raise refused(href, base, "'..' in a path", "an address without it")
    return href


def _check_file(href: str, base: str, roots: Iterable[str | Path]) -> None:
    path = href.removeprefix("file://")
    allowed = [Path(root).resolve() for root in (*_own_folder(base), *roots, *_said_roots())]
    for spelling in (path, unquote(path)):
        file = Path(spelling).resolve()
        if not any(file.is_relative_to(folder) for folder in allowed):
            raise refused(
                href,
                base,
                "a file outside the allowed folders",
                f"a file below {' or '.join(dict.fromkeys(map(str, allowed))) or 'one of them'}",
                todo="if you trust this catalog, allow the folder of its files, or one above it: "
                f"export {ROOTS}={file.parent}",
            )


def _own_folder(base: str) -> list[Path]:
    path = base.removeprefix("file://")
    return [] if "://" in path else [Path(path).resolve().parent]


def _said_roots() -> list[str]:
    return [root for root in os.environ.get(ROOTS, "").split(os.pathsep) if root]


def follow_checked(response: requests.Response, **_: Any) -> None:
    """Refuse a redirect to where a catalog may not lead; a hook of sessions."""
    if response.is_redirect:
        target = urljoin(response.url, response.headers["location"])
        try:
            check_href(target, base=response.url)
        except CatalogError:
            response.close()
            raise


def _check_host(href: str, base: str) -> None:
    if urlsplit(href).scheme not in ("http", "https"):
        return
    host = _plain(_host(href))
    is_outside = not _is_within(base)
    addresses = _addresses(host) if is_outside and provider_of(href) is None else _said(host)
    _refuse_services(href, base, host, addresses)
    if not is_outside:
        return
    if any(address.is_loopback or address.is_unspecified for address in addresses):
        raise refused(href, base, "this machine itself", "a host of the internet")
    if any(_is_private(address) for address in addresses) and host not in _said_hosts():
        raise refused(
            href,
            base,
            "a private network",
            "a host of the internet",
            todo=f"if you trust this catalog, allow the host: export {HOSTS}={host}",
        )


def check_read(href: str) -> None:
    """Refuse to read from an address, whoever said it, that nobody keeps rasters at.

    Raises
    ------
    CatalogError
        It is of a link-local address or a metadata service, by its name or by what that name
        means now; or a host of the internet redirects from it to where its catalogs may not lead.

    Notes
    -----
    GDAL follows redirects, and has no option that says whereto (3.12). So a byte of every address
    is asked for first, once a process. It finds a host that anybody can make redirect, not one that
    answers GDAL differently.
    """
    if urlsplit(href).scheme not in ("http", "https") or provider_of(href) is not None:
        return
    host = _plain(_host(href))
    _refuse_services(href, href, host, _addresses(host))
    if not _is_within(href):
        with suppress(requests.RequestException):  # whoever reads it will say so
            _follow(href)


@lru_cache(maxsize=4096)
def _follow(href: str) -> None:
    byte = {"Range": "bytes=0-0"}
    hooks = {"response": follow_checked}
    with requests.get(href, headers=byte, hooks=hooks, stream=True, timeout=ASK_S):
        pass


def _refuse_services(href: str, base: str, host: str, addresses: tuple[Address, ...]) -> None:
    named = {host, *map(str, addresses)}
    if named & (METADATA_HOSTS | METADATA_ADDRESSES):
        raise refused(href, base, "a metadata service", "a host of the internet")
    if any(address.is_link_local or address.is_multicast for address in addresses):
        raise refused(href, base, "a link-local address", "a host of the internet")


def _is_within(base: str) -> bool:
    """Say whether a document is a file, or from a server of this machine or a private network."""
    if "://" not in base or base.startswith("file://"):
        return True
    if urlsplit(base).scheme not in ("http", "https"):
        return False
    return any(
        address.is_loopback or _is_private(address) for address in _addresses(_plain(_host(base)))
    )


def _is_private(address: Address) -> bool:
    return any(address in network for network in PRIVATE_NETWORKS)


def _said_hosts() -> list[str]:
    return [_plain(host.strip()) for host in os.environ.get(HOSTS, "").split(",")]


def _plain(host: str | None) -> str:
    return (host or "").rstrip(".").lower()


def _said(host: str) -> tuple[Address, ...]:
    """Return the address that a host is, if it is one, without asking anybody."""
    if host == "localhost" or host.endswith(".localhost"):
        return (ipaddress.IPv4Address("127.0.0.1"),)
    address = _address(host)
    return () if address is None else (address,)


@lru_cache(maxsize=4096)
def _addresses(host: str) -> tuple[Address, ...]:
    """Return the addresses of a host; none if nobody knows it here, as behind a proxy."""
    if said := _said(host):
        return said
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    known = (_address(str(entry[4][0])) for entry in found)
    return tuple(dict.fromkeys(address for address in known if address is not None))


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # of a broken IPv6 address
        return None


def _is_own(host: str | None) -> bool:
    address = _address(host or "")
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> Address | None:
    """Return a host that is an address, in any spelling that resolvers take: 0xA9FEA9FE too."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            found = ipaddress.ip_address(socket.inet_aton(host))
        except OSError:
            return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found


def check_item(
    item: dict[str, Any], *, base: str, roots: Iterable[str | Path] = ()
) -> dict[str, Any]:
    """Return an item, whose addresses are absolute, if nothing in it is refused.

    Parameters
    ----------
    item
        Of :func:`~rockglacier_stac.search.tidied`.
    base, roots
        See :func:`check_href`.

    Raises
    ------
    CatalogError
        An asset leads where it may not, or says an absurd size or shape.
    """
    roots = tuple(roots)
    for name, asset in item["assets"].items():
        check_href(asset["href"], base=base, roots=roots)
        shape = asset.get("proj:shape") or item["properties"].get("proj:shape") or []
        is_shape = isinstance(shape, list) and all(
            isinstance(edge, int | float) and 0 < edge <= LARGEST_EDGE for edge in shape
        )
        if not is_shape:
            raise refused(asset["href"], base, f"proj:shape {shape} of {name!r}", "a raster")
        size = asset.get("file:size", 0)
        if not isinstance(size, int | float) or not 0 <= size < 2**50:
            raise refused(asset["href"], base, f"file:size {size} of {name!r}", "bytes")
    return item
