"""Files of a run, here or in an object store: whole or not at all, one writer, nothing secret."""

from rockglacier.storage.arrays import in_one_pass, one_pass, open_array, open_group, open_published
from rockglacier.storage.faults import disk_errors, require_space
from rockglacier.storage.files import (
    file_at,
    listing,
    local_copy,
    open_place,
    parse_json,
    put,
    read_bytes,
    read_json,
    read_jsons,
    readable,
    remove,
    sha256_of,
    uploaded,
    write_bytes,
    write_json,
    write_text,
)
from rockglacier.storage.folders import local_folder, move, scratch, upload
from rockglacier.storage.lease import Lease, lease, turn
from rockglacier.storage.remote import RemotePath, gdal_settings, is_local, zarr_store
from rockglacier.storage.secrets import masked, redact, redact_text
from rockglacier.storage.traffic import BYTES, Traffic

__all__ = [
    "BYTES",
    "Lease",
    "RemotePath",
    "Traffic",
    "disk_errors",
    "file_at",
    "gdal_settings",
    "in_one_pass",
    "is_local",
    "lease",
    "listing",
    "local_copy",
    "local_folder",
    "masked",
    "move",
    "one_pass",
    "open_array",
    "open_group",
    "open_place",
    "open_published",
    "parse_json",
    "put",
    "read_bytes",
    "read_json",
    "read_jsons",
    "readable",
    "redact",
    "redact_text",
    "remove",
    "require_space",
    "scratch",
    "sha256_of",
    "turn",
    "upload",
    "uploaded",
    "write_bytes",
    "write_json",
    "write_text",
    "zarr_store",
]
