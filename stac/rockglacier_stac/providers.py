"""What is known of the catalogs with a name: where they are, and how their assets are read.

A provider is data. To add one, add a row; no other module asks for a provider by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Signing = Literal["none", "open-bucket", "azure-sas", "s3-keys"]
"""How an address becomes readable: as it is; over HTTPS instead of S3; with a token that ends; by
GDAL itself, with the S3 keys of the environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One catalog with Sentinel-2 L2A, and whoever holds its pixels."""

    name: str
    url: str
    """Landing page of its STAC API."""
    collections: tuple[str, ...]
    """Its Sentinel-2 L2A collections, the one to prefer first."""
    dem_collection: str
    """Its Copernicus DEM GLO-30."""
    assets: Mapping[str, tuple[str, ...]]
    """Band (``B02`` ..., ``SCL``) to the keys of its asset, the finest resolution first."""
    signing: Signing = "none"
    buckets: Mapping[str, str] = field(default_factory=dict)
    """S3 buckets that hold its pixels; where anybody may read them, with their HTTPS address."""
    hosts: tuple[str, ...] = ()
    """Ends of the host names that hold its pixels."""
    gdal: Mapping[str, str] = field(default_factory=dict)
    """Options without which GDAL does not reach its pixels; the environment wins over them."""
    reads: int = 16
    """Assets that one process reads at once."""
    page: int = 100
    """Items to ask for at a time."""
    access: str = ""
    """What a person has to know before reading."""
    region: str = ""
    """Where its pixels lie: what is read from elsewhere waits for the line, and may be paid for."""


# Earth Search v0 has Sentinel-2's own names instead, as Planetary Computer.
_COMMON_NAMES = {
    "B01": ("coastal",),
    "B02": ("blue",),
    "B03": ("green",),
    "B04": ("red",),
    "B05": ("rededge1",),
    "B06": ("rededge2",),
    "B07": ("rededge3",),
    "B08": ("nir",),
    "B8A": ("nir08",),
    "B09": ("nir09",),
    "B11": ("swir16",),
    "B12": ("swir22",),
    "SCL": ("scl",),
}
_OWN_NAMES = {band: (band,) for band in _COMMON_NAMES}
_FINE, _COARSE = ("B02", "B03", "B04", "B08"), ("B09",)
_SIZED_NAMES = {
    band: (f"{band}_{10 if band in _FINE else 60 if band in _COARSE else 20}m",)
    for band in _COMMON_NAMES
} | {"B01": ("B01_20m", "B01_60m")}

PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            name="earth-search",
            url="https://earth-search.aws.element84.com/v1",
            collections=("sentinel-2-c1-l2a", "sentinel-2-l2a"),
            dem_collection="cop-dem-glo-30",
            assets=_COMMON_NAMES,
            signing="open-bucket",
            buckets={
                "copernicus-dem-30m": "https://copernicus-dem-30m.s3.amazonaws.com",
                "sentinel-cogs": "https://sentinel-cogs.s3.us-west-2.amazonaws.com",
                "e84-earth-search-sentinel-data": (
                    "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com"
                ),
            },
            hosts=(
                "copernicus-dem-30m.s3.amazonaws.com",
                "sentinel-cogs.s3.us-west-2.amazonaws.com",
                "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
            ),
            access="open to anybody",
            region="us-west-2 of AWS",
        ),
        Provider(
            name="planetary-computer",
            url="https://planetarycomputer.microsoft.com/api/stac/v1",
            collections=("sentinel-2-l2a",),
            dem_collection="cop-dem-glo-30",
            assets=_OWN_NAMES,
            signing="azure-sas",
            hosts=(".blob.core.windows.net",),
            access="open to anybody, with tokens that end within the hour and are renewed",
            region="West Europe of Azure",
        ),
        Provider(
            name="cdse",
            url="https://stac.dataspace.copernicus.eu/v1",
            collections=("sentinel-2-l2a",),
            dem_collection="cop-dem-glo-30-dged-cog",
            assets=_SIZED_NAMES,
            signing="s3-keys",
            buckets={"eodata": ""},
            gdal={
                "AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu",
                "AWS_HTTPS": "YES",
                "AWS_VIRTUAL_HOSTING": "FALSE",
            },
            # https://documentation.dataspace.copernicus.eu/Quotas.html: connections of one user
            reads=4,
            page=50,
            access="JPEG 2000 behind S3 keys, which every registered user can make; 4 reads at "
            "once for one user, so use one worker process",
            region="the cloud of the Copernicus Data Space",
        ),
    )
}
"""Catalogs known by name."""

ASSET_KEYS: dict[str, tuple[str, ...]] = {
    band: tuple(
        dict.fromkeys(key for provider in PROVIDERS.values() for key in provider.assets[band])
    )
    for band in _COMMON_NAMES
}
"""Band to the keys of its asset with any provider: what an item is asked for."""

DEFAULT_READS = 16
"""Assets that one process reads at once from where nobody set a limit."""


def provider_of(href: str) -> Provider | None:
    """Return who holds the pixels at an address, or None for files and unknown servers."""
    parts = urlsplit(href)
    if parts.scheme == "s3":
        held = (one for one in PROVIDERS.values() if parts.netloc in one.buckets)
    elif parts.scheme == "https":
        held = (one for one in PROVIDERS.values() if parts.netloc.endswith(one.hosts))
    else:
        return None
    return next(held, None)
