"""The files of a URL, in the order and with the names that the same files on a disk would have."""

import glob
from collections.abc import Iterator
from typing import NamedTuple

from longreach.errors import UserError
from longreach.stores import Store
from longreach.urls import is_plain

SAVED_DATASET = ("state.json", "dataset_dict.json")


class Remote(NamedTuple):
    """A file of a store."""

    url: str  # below what the user gave
    key: str  # the same however it was named
    size: int
    named: bool  # by the user, or by a glob of theirs, and not found in a folder


def files_at(url: str) -> Iterator[Remote]:
    """The files of a URL: one, those of a folder, or what a glob matches; UserError where nothing is there."""
    store = Store.at(url)
    info = store.info()
    if info and info["type"] == "file":
        yield _remote(store, "", info["size"] or 0, True)
    elif info:
        yield from _folder(store, store.path)
    elif glob.has_magic(url):
        yield from _matches(store)
    else:
        raise UserError(f"{url}: no such file or folder")


def versions_at(url: str) -> list[tuple[str, int, list[str]]]:
    """URL, size and version of each file of a URL that can be read: others when the content of its files is."""
    return [(each.url, each.size, Store.at(each.url).version()) for each in files_at(url) if is_plain(each.url)]


def _folder(store: Store, path: str) -> Iterator[Remote]:
    """The files of a folder in the store, or of the store's place itself; hidden ones are left out."""
    files = store.files(path)
    if any(name in SAVED_DATASET for name, _ in files):
        raise UserError(f"{store.url}: a saved dataset is read from a disk", "copy it here")
    inside = path[len(store.path) :].count("/")
    for name, size in files:
        if not any(part.startswith(".") for part in name.split("/")[inside:]):
            yield _remote(store, name, size, False)


def _matches(store: Store) -> Iterator[Remote]:
    """What matches the glob that the store's place is: files, and folders with all that is in them."""
    base = Store(_plain(store.url), store.fs, _plain(store.path))
    found = store.matches()
    for path in sorted(found, key=lambda each: each.split("/")):
        name = path[len(base.path) :].lstrip("/")
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if found[path]["type"] == "file":
            yield _remote(base, name, found[path]["size"] or 0, True)
        else:
            yield from _folder(base, path)


def _plain(path: str) -> str:
    """What stands before the first part with a sign of a glob."""
    parts = path.split("/")
    return "/".join(parts[: next(number for number, part in enumerate(parts) if glob.has_magic(part))])


def _remote(store: Store, name: str, size: int, named: bool) -> Remote:
    url, path = (f"{store.url}/{name}", store.below(name)) if name else (store.url, store.path)
    return Remote(url, store.fs.unstrip_protocol(path), size, named)
