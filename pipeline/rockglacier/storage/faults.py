"""Full disks, closed buckets and stores that do not answer, told so that a person can act."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rockglacier.errors import InputError, RemoteError, RockGlacierError
from rockglacier.storage.secrets import redact_text

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION "
    "(and AWS_ENDPOINT_URL, if the store is not Amazon's)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Variables of the environment that open a store."""

NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist", re.IGNORECASE)
# without keys, a client asks the metadata service of a cloud's own machines for some
REFUSED = re.compile(
    r"PermissionDenied|Unauthenticated|AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId|"
    r"status code: 40[13]|//169\.254\.169\.254|//metadata\.google"
)

PATIENCE: dict[str, Any] = {
    "attempts": 9,
    "timeout": None,
    "wait_initial": 0.1,
    "wait_jitter": 0.2,
    "wait_max": 5.0,
}
"""With requests that obstore does not try again by itself: conditional ones, half answers."""

FULL_BYTES = 1_000_000
"""With less room than this, a library that fails to write failed for that."""

CONDITIONS = ("AlreadyExistsError", "PreconditionError")
"""Answers to a conditional write, rather than faults."""


def is_cut(error: Exception) -> bool:
    """Say whether an answer broke off, or never came: asking again may help."""
    return _is_of_obstore(error) and "kind: Interrupted" in str(error)


def _is_of_obstore(error: Exception) -> bool:
    """Tell obstore's errors without importing it, which local files do not need."""
    return type(error).__module__.startswith("obstore")


def require_space(folder: Path, needed_bytes: int, *, what: str) -> None:
    """Raise :class:`InputError` before work that would fill the disk; an object store has room."""
    if "://" in str(folder):
        return
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise InputError(
            f"{_size(free)} free at {str(folder)!r}; {what} needs {_size(needed_bytes)}",
            expected="a disk with room for the products",
            todo="free some space, or set `output` to a folder on a larger disk",
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what a disk or an object store refuses into a message that says what to do.

    A missing file stays a ``FileNotFoundError``, in an object store too, and a condition that
    does not hold stays obstore's own error.

    Raises
    ------
    InputError
        A full or read-only disk, a file where a folder should be; a bucket that is not there or
        may not be used.
    RemoteError
        A store that does not answer, after retries.
    """
    try:
        yield
    except OSError as error:
        told = _of_disk(error, folder) or _of_store(error, folder)
        if told is None:
            raise
        raise told from error
    except RockGlacierError:
        raise
    except Exception as error:
        if not _is_of_obstore(error):
            if _is_full(folder):
                raise _full(folder) from error
            raise
        if type(error).__name__ in CONDITIONS:
            raise
        raise _of_store(error, folder) or _unreached(error, folder) from error


def _is_full(folder: Path) -> bool:
    """Say whether a disk has no room; GDAL and SQLite tell only that they could not write."""
    if "://" in str(folder):
        return False
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free < FULL_BYTES


def _full(folder: Path) -> InputError:
    return InputError(
        f"the disk of {str(folder)!r} is full",
        expected="room for the products",
        todo="free some space and run the same command again: finished blocks are kept",
    )


def _of_disk(error: OSError, folder: Path) -> RockGlacierError | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and _is_full(folder)):
        return _full(folder)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(
            f"cannot write to {str(error.filename or folder)!r}: {error.strerror}",
            expected="a folder that you may write to",
            todo="set `output` to another folder, or mend its permissions",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return InputError(
            f"cannot make the folder {str(error.filename or folder)!r}: {error.strerror}",
            expected="no file of that name, and none on the way to it",
            todo="set `output` to another folder, or name another one",
        )
    return None


def _of_store(error: Exception, place: Path) -> RockGlacierError | None:
    scheme, _, rest = str(place).partition("://")
    if not rest:
        return None
    text = str(error)
    if NO_BUCKET.search(text):
        return InputError(
            f"there is no bucket {rest.partition('/')[0]!r} for {str(place)!r}",
            expected="a bucket that exists",
            todo="make it, or correct the address",
        )
    if "PermanentRedirect" in text or "AuthorizationHeaderMalformed" in text:
        return InputError(
            f"the bucket of {str(place)!r} is in another region",
            expected="AWS_REGION set to the region of the bucket",
        )
    if REFUSED.search(f"{type(error).__name__} {text}"):
        return InputError(
            f"{str(place)!r} may not be used: {_cause(text)}",
            expected="credentials in the environment that may read and write there",
            todo=f"set {CREDENTIALS.get(scheme, 'them')}, on workers too",
        )
    return None


def _unreached(error: Exception, place: Path) -> RemoteError:
    return RemoteError(
        f"the store of {str(place)!r} cannot be used: {_cause(str(error))}",
        expected="a store that answers",
        todo="check its address (AWS_ENDPOINT_URL) and the network, and run the same command "
        "again: finished blocks are kept",
        href=str(place),
    )


def _cause(text: str) -> str:
    """Return the store's own code and words, or the line and the system's reason."""
    code, words = re.search(r"<Code>(.*?)<", text), re.search(r"<Message>(.*?)<", text)
    if code:
        return redact_text(f"{code[1]}{f' ({words[1]})' if words else ''}")
    line = text.partition("\n")[0]
    reasons = re.findall(r'(?:message|error): "([^"]+)"', text)
    return redact_text(" - ".join([line, *reasons[-1:]]))
