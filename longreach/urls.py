"""URLs of object stores where a path may stand: s3://bucket/books, gs://, hf://, memory://, file://, ... by fsspec.

A URL is written down with the run, as a document's id too, so one that holds a key is refused: keys come from where a
store's own client looks for them.
"""

import re
from collections.abc import Iterable

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_SECRETS = (
    re.compile(r"(?<=://)[^/:@\[]*:(?!\d+(?:/|$))(?:[^/]*|.*?)(?=@)"),  # user and password, no port
    re.compile(r"(?<=http://)[^/@]+(?=@)|(?<=https://)[^/@]+(?=@)", re.IGNORECASE),  # a token
    re.compile(r"(?<=\?)[^/]*=.*"),  # a signature
)
KEYS = "keys come from the environment, or from the files of the store's own client or of fsspec (~/.config/fsspec)"


def is_url(path: str) -> bool:
    """Whether a path is a URL, and no place on this machine's disks."""
    return bool(_SCHEME.match(path))


def is_plain(url: str) -> bool:
    """Whether a URL says all of where something is: no key or query, no chain. Names that a store allows may not."""
    return "::" not in url and not with_keys([url])


def with_keys(texts: Iterable[str]) -> list[str]:
    """What is wrong with texts that are or hold URLs with a password, token or query, which is not repeated."""
    shown = {text: without_keys(text) for text in texts if "://" in text}
    return [
        f"{safe}: a URL must hold no key or query: it is written down" for text, safe in shown.items() if text != safe
    ]


def without_keys(text: str) -> str:
    """A text with what may be a password, a token or a signature of a URL in it made unreadable."""
    for secret in _SECRETS:
        text = secret.sub("***", text)
    return text
