"""URLs of object stores where a path may stand: s3://bucket/books, gs://, hf://, memory://, file://, ... by fsspec.

A URL is written down with the run, as a document's id too, so one that holds a key is refused: keys come from where a
store's own client looks for them.
"""

import re
from collections.abc import Iterable

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_SECRETS = (
    re.compile(r"(?<=://)[^/:@]*:[^/]*(?=@)"),  # user and password
    re.compile(r"(?<=http://)[^/@]+(?=@)|(?<=https://)[^/@]+(?=@)"),  # a token
    re.compile(r"(?<=\?)[^/]*=.*"),  # a signature
)
KEYS = "keys come from the environment, or from the files of the store's own client or of fsspec (~/.config/fsspec)"


def is_url(path: str) -> bool:
    """Whether a path is a URL, and no place on this machine's disks."""
    return bool(_SCHEME.match(path))


def with_keys(texts: Iterable[str]) -> list[str]:
    """What is wrong with texts that are or hold URLs with a password, token or query, which is not repeated."""
    hidden = {text: _hidden(text) for text in texts if "://" in text}
    return [
        f"{safe}: a URL must hold no key or query: it is written down" for text, safe in hidden.items() if text != safe
    ]


def _hidden(text: str) -> str:
    for secret in _SECRETS:
        text = secret.sub("***", text)
    return text
