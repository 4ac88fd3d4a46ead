"""Files of a run, here or in an object store: whole or not at all, one writer, nothing secret."""

from rockglacier.storage.faults import disk_errors, require_space
from rockglacier.storage.files import (
    listing,
    local_copy,
    open_place,
    read_bytes,
    read_json,
    read_jsons,
    remove,
    uploaded,
    write_bytes,
    write_json,
    write_text,
)
from rockglacier.storage.lease import Lease, lease
from rockglacier.storage.remote import RemotePath, gdal_settings, is_local, zarr_store
from rockglacier.storage.secrets import redact, redact_text

__all__ = [
    "Lease",
    "RemotePath",
    "disk_errors",
    "gdal_settings",
    "is_local",
    "lease",
    "listing",
    "local_copy",
    "open_place",
    "read_bytes",
    "read_json",
    "read_jsons",
    "redact",
    "redact_text",
    "remove",
    "require_space",
    "uploaded",
    "write_bytes",
    "write_json",
    "write_text",
    "zarr_store",
]
