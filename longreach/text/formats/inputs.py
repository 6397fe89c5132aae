"""From what the user named to the files that are read, in a fixed order; every mistake found is told at once.

Folders are walked in the order of their names, hidden entries left out. A link inside a folder is followed only while
it stays in the folder, each file is read once however many ways lead to it, and what cannot be read is listed, not
passed over. Each file found costs a few hundred bytes. A URL's files are found in the same order (`remote.py`).
"""

import difflib
import glob
import importlib.util
import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from longreach.errors import UserError, missing_extra
from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.kinds import DOCUMENTS, kind_of, require_packages
from longreach.text.formats.remote import SAVED_DATASET, Remote, files_at
from longreach.text.formats.source import Source, as_text
from longreach.urls import is_plain, is_url, without_keys

DATASET_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:\w[\w.-]*)?")  # and its split
WAYS = "give files, folders, globs in quotes, URLs, or the name of a Hugging Face dataset"
OF_ROWS = "rows come from .jsonl, .json, .csv, .tsv (each also .gz or .zst), .parquet, or a dataset"


def find(paths: Sequence[str], fields: tuple[str, ...] = ()) -> list[Source | Skipped]:
    """The files of all inputs, or one UserError that tells of every input that has none.

    With `fields`, any file will do, and of rows only these fields are read, of which they must have the first. Without,
    all fields are read, and a file that is one text is a note.
    """
    finder = Finder(fields)
    for path in paths:
        finder.add(path)
    if finder.problems or not finder.found:
        raise UserError(
            "\n".join(finder.problems) or f"no {'documents' if fields else 'rows'} were named",
            "; ".join(dict.fromkeys(finder.hints)) or WAYS,
        )
    for source in finder.found:
        if isinstance(source, Source):
            require_packages(source)
    return finder.found


class Finder:
    """Collects the files, which of them were met before, and what is wrong with the inputs."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.fields = fields
        self.found: list[Source | Skipped] = []
        self.problems: list[str] = []
        self.hints: list[str] = []
        self.seen: set[str] = set()  # real paths of files and folders
        self.repeats = 0

    def add(self, given: str) -> None:
        """Find the files of one input: a file, a folder, a glob, a URL or, where nothing has that name, a dataset."""
        before, repeats = len(self.found), self.repeats
        path = Path(given).expanduser()
        if is_url(given):
            self._remote(given)
        elif path.is_dir():
            self._folder(path)
        elif path.exists() or path.is_symlink():
            self._file(path, path.resolve(), named=True)
        elif glob.has_magic(given):
            self._glob(path)
        else:
            self._dataset(given, path)
            return
        new = self.found[before:]
        if self.repeats == repeats and not any(isinstance(item, Source) for item in new):
            counts = Counter(item.reason for item in new if isinstance(item, Skipped))
            why = ", ".join(f"{reason}: {count}" for reason, count in counts.items()) or "nothing there"
            self.problems.append(f"{given}: no file that can be read ({why})")
            self.hints += [OF_ROWS] if reasons.NOT_ROWS in counts else []

    def _folder(self, folder: Path) -> None:
        if any((folder / name).is_file() for name in SAVED_DATASET):
            self._open_dataset(str(folder))
            return
        root = folder.resolve()
        todo = [(folder, root)]
        while todo:
            path, real = todo.pop()
            if not real.is_dir():
                self._file(path, real)
            elif str(real) in self.seen:
                self.repeats += 1
            else:
                self.seen.add(str(real))
                todo.extend(reversed(self._entries(path, real, root)))

    def _entries(self, folder: Path, real: Path, root: Path) -> list[tuple[Path, Path]]:
        """What is in a folder, in order, each with where it really lies."""
        try:
            entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        except OSError as error:
            self._skip(folder, reasons.UNREADABLE, str(error.strerror))
            return []
        inside = []
        for entry in entries:
            target = entry.resolve() if entry.is_symlink() and entry.exists() else real / entry.name
            if target.is_relative_to(root):
                inside.append((entry, target))
            else:
                self._skip(entry, reasons.OUTSIDE_LINK, f"to {as_text(str(target))}; name it to read it")
        return inside

    def _file(self, path: Path, real: Path, named: bool = False) -> None:
        if str(real) in self.seen:
            self.repeats += 1
            return
        self.seen.add(str(real))
        try:
            status = path.stat()
        except OSError as error:
            self._skip(path, reasons.UNREADABLE, str(error.strerror))
            return
        if stat.S_ISREG(status.st_mode):
            self._take(str(path), status.st_size, named)
        else:
            self._skip(path, reasons.UNREADABLE, "not a regular file")

    def _take(self, path: str, size: int, named: bool) -> None:
        """A file, by what its name says of it."""
        name = PurePath(path)
        kind = kind_of(path) or ("plain" if named and self.fields else "")
        if not kind:
            self._skip(path, reasons.UNKNOWN_FORMAT, name.suffix or "no suffix")
        elif kind in DOCUMENTS and not self.fields:
            self._skip(path, reasons.NOT_ROWS, f"{name.suffix or 'such a file'} is one text; {OF_ROWS}")
        else:
            self.found.append(self._source(path, size, kind))

    def _remote(self, url: str) -> None:
        for file in files_at(url):
            if file.key in self.seen:
                self.repeats += 1
            else:
                self.seen.add(file.key)
                self._take_remote(file)

    def _take_remote(self, file: Remote) -> None:
        if is_plain(file.url):
            self._take(file.url, file.size, file.named)
        else:
            self._skip(
                without_keys(file.url), reasons.UNREADABLE, "a URL with this name says something else; rename it"
            )

    def _glob(self, path: Path) -> None:
        plain = next(number for number, part in enumerate(path.parts) if glob.has_magic(part))
        base, pattern = Path(*path.parts[:plain]), Path(*path.parts[plain:])
        try:
            matches = sorted(base.glob(str(pattern)))
        except (ValueError, OSError) as error:
            self.problems.append(f"{path}: {error}")
            return
        for match in matches:
            if any(part.startswith(".") for part in match.relative_to(base).parts):
                continue
            if match.is_dir():
                self._folder(match)
            else:
                self._file(match, match.resolve(), named=True)

    def _dataset(self, given: str, path: Path) -> None:
        """Take a name for a dataset's only when it cannot be a slip in the name of something that is here."""
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, names, n=1)
        if close or kind_of(path.name) or not DATASET_NAME.fullmatch(given):
            self.problems.append(f"{given}: no such file or folder")
            self.hints.append(f"did you mean {path.parent / close[0]}?" if close else WAYS)
        else:
            self._open_dataset(given)

    def _open_dataset(self, name: str) -> None:
        if importlib.util.find_spec("datasets") is None:
            raise missing_extra("datasets", f"reading {name} as a Hugging Face dataset", "datasets")
        from longreach.text.formats.hub import rows_of

        rows_of(name)
        self.found.append(self._source(name, 0, "dataset"))

    def _source(self, path: str, size: int, kind: str) -> Source:
        return Source(path, size, kind, self.fields)

    def _skip(self, path: Path | str, reason: str, detail: str) -> None:
        self.found.append(Skipped(as_text(str(path)), reason, detail))
