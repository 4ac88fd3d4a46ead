"""What may hold a secret, taken out of addresses and messages."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit, urlunsplit

from rockglacier_stac.errors import SECRET_VALUE, without_secrets

SECRET_NAME = re.compile(r"(?=AWS_|AZURE_|GOOGLE_|STAC_API_).*(SECRET|TOKEN|SAS|KEY|PASSWORD)")
"""Environment variables whose values nobody may see."""

SHORTEST_SECRET = 6
"""A shorter value is no secret, and would be found in innocent words."""


def redact(href: str) -> str:
    """Drop what may hold a secret: the query of a signed URL, a user and password in its host."""
    if "://" not in href:
        return href
    parts = urlsplit(href)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def redact_text(text: str) -> str:
    """Drop query and password of every URL in a text, e.g. a library's own log line, and every key.

    Keys are those of the environment: a library that quotes one in its message does not know
    better.
    """
    for name, value in os.environ.items():
        if len(value) >= SHORTEST_SECRET and SECRET_NAME.match(name):
            text = text.replace(value, "***")
    return without_secrets(text)


def masked(text: str) -> str:
    """Return a text whose addresses keep all but what opens them, which becomes ``***``.

    Examples
    --------
    >>> masked("https://host/items.parquet?file=a&X-Amz-Signature=abc")
    'https://host/items.parquet?file=a&X-Amz-Signature=***'
    """
    return SECRET_VALUE.sub(lambda found: f"{found[1] or found[2]}***", text)
