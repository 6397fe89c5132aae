"""Places that fsspec reaches: what is there, reading and writing it; whatever their clients raise, as one message.

fsspec is loaded only where a URL is given.
"""

import errno
import io
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from longreach.config import did_you_mean
from longreach.errors import UserError, missing_extra
from longreach.urls import KEYS, is_url, with_keys, without_keys

CLIENTS = frozenset(  # the packages whose errors are a store's, beside every OSError
    "adlfs aiobotocore aiohttp azure botocore fsspec gcsfs google httpx huggingface_hub paramiko requests s3fs".split()
)
LOCAL = ("file", "local")
VERSIONS = (  # what the clients call that which is another one when a file's content is
    "ETag etag Content-MD5 Digest md5Hash generation blob_id mtime LastModified Last-Modified last_modified updated "
    "created"
).split()


@dataclass(frozen=True)
class Store:
    """A place in a file system of fsspec. Names below it are relative to it."""

    url: str  # as the user gave it
    fs: Any
    path: str  # what the file system calls it

    @classmethod
    def at(cls, url: str) -> "Store":
        """The place that a URL names, which may not exist; UserError where nothing here can reach such places."""
        if not is_url(url):
            raise UserError(f"{url!r} is no URL", "s3://bucket/folder, gs://, hf://, or of a disk file:///folder")
        if problems := with_keys([url]):
            raise UserError("\n".join(problems), KEYS)
        if find_spec("fsspec") is None:
            raise missing_extra("fsspec", url, "remote")
        import fsspec

        if not is_url(url):
            raise UserError(
                f"{url!r} is no URL", "a URL starts with s3://, gs:// or the like; file:// is a folder of this machine"
            )
        protocol = url.partition("://")[0]
        if "::" in url:
            raise UserError(f"{url}: chained URLs are not read", "copy what they hold to a place of its own")
        if protocol not in fsspec.available_protocols():
            raise UserError(
                f"{url}: {protocol}:// is no store{did_you_mean(protocol, fsspec.available_protocols())}",
                "s3://, gs://, az://, hf:// and file:// are some",
            )
        with told(url):
            try:
                fs, path = fsspec.core.url_to_fs(url, **({"auto_mkdir": True} if protocol in LOCAL else {}))
            except ImportError as error:
                raise UserError(f"{url}: {protocol}:// needs a package: {error}", _install(protocol)) from error
        return cls(url.rstrip("/"), fs, path.rstrip("/"))

    def below(self, name: str) -> str:
        """What the file system calls something in this place."""
        return f"{self.path}/{name}"

    def info(self) -> dict[str, Any] | None:
        """What the file system says of the place itself; None where nothing is there."""
        with told(self.url):
            try:
                return dict(self.fs.info(self.path))
            except FileNotFoundError:
                return None

    def version(self) -> list[str]:
        """What the file system tells of the file here that is another when its content is; empty where that is none."""
        info = self.info() or {}
        return [f"{name}: {info[name]}" for name in VERSIONS if info.get(name)]

    def files(self, path: str | None = None) -> list[tuple[str, int]]:
        """Name and size of every file in the folder, or in the folder `path` of it, as it is now; by name, part by
        part."""
        with told(self.url):
            self.fs.invalidate_cache()
            found = self.fs.find(self.path if path is None else path, detail=True).values()
        sizes = [
            (each["name"][len(self.path) :].lstrip("/"), each["size"] or 0)
            for each in found
            if not each["name"].endswith("/")  # the mark of a folder, an empty object
        ]
        return sorted(sizes, key=lambda file: file[0].split("/"))

    def matches(self) -> dict[str, dict[str, Any]]:
        """What matches the glob that this place is, each with what the file system says of it."""
        with told(self.url):
            return dict(self.fs.glob(self.path, detail=True))

    def read(self, name: str) -> bytes:
        """All of a small file below this place."""
        with told(f"{self.url}/{name}"):
            return bytes(self.fs.cat_file(self.below(name)))

    def write(self, name: str, content: bytes) -> None:
        """Write a small file below this place."""
        with told(f"{self.url}/{name}"):
            self.fs.pipe_file(self.below(name), content)

    def remove(self, name: str) -> None:
        """Remove a file below this place."""
        with told(f"{self.url}/{name}"):
            self.fs.rm_file(self.below(name))

    def put(self, path: Path, name: str, size: int) -> None:
        """Copy a file of this machine to below this place, and see that all of it arrived."""
        with told(f"{self.url}/{name}"):
            self.fs.put_file(str(path), self.below(name))
            self.fs.invalidate_cache()
            there = self.fs.info(self.below(name))["size"]
            if there != size:
                raise OSError(f"{there:,} bytes of {size:,} have arrived")

    def get(self, name: str, path: Path) -> None:
        """Copy a file from below this place to this machine."""
        with told(f"{self.url}/{name}"):
            self.fs.get_file(self.below(name), str(path))

    def open(self) -> "StoreFile":
        """The file that this place is, to be read."""
        with told(self.url):
            return StoreFile(self.url, self.fs.open(self.path, "rb"))


class StoreFile(io.RawIOBase):
    """A file of a store. That it cannot be read is no fault of its content, so it stops the run: the same command goes
    on when the store does."""

    def __init__(self, url: str, file: Any) -> None:
        self._url = url
        self._file = file
        self._size = getattr(file, "size", None)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def readinto(self, buffer: Any) -> int:
        with told(self._url):
            data = self._file.read(len(buffer))
            if not data and len(buffer) and self._size is not None and self._file.tell() < self._size:
                raise OSError(f"it ends after {self._file.tell():,} bytes of {self._size:,}")
        buffer[: len(data)] = data
        return len(data)

    def seek(self, place: int, whence: int = 0) -> int:
        with told(self._url):
            return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def told(url: str) -> Iterator[None]:
    """Tell as one message what a store's client raises, each in its own way; a bug goes on as it is.

    What it says may hold the signed URL that a server sent it on to.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and CLIENTS.isdisjoint(_packages(error)):
            raise
        said = without_keys(str(error)) or type(error).__name__
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "free some space" if full else f"check the address and the network; {KEYS}"
        raise UserError(f"{url}: {said}", f"{mend}; the same command goes on") from error


def _packages(error: Exception) -> Iterator[str]:
    """Whose error it is, and who raised it."""
    yield type(error).__module__.partition(".")[0]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        raised = frame.f_globals["__name__"]
    yield raised.partition(".")[0]


def _install(protocol: str) -> str:
    """The command that installs the client of a protocol."""
    from fsspec.registry import known_implementations

    known = known_implementations.get(protocol, {})
    package = known.get("class", "").partition(".")[0]
    return f"pip install {package}" if package not in ("", "fsspec") else str(known.get("err", ""))
