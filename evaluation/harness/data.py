"""Where a task's data lie under --data-dir, in the forms in which people have them.

A data set is a folder, or the folder of one of its configurations inside it. It holds files of its splits (train.jsonl,
or test-00000-of-00001.parquet as on the hub, perhaps in data/ or in the one folder there is), or what `datasets` saved;
a lone file named as the data set or the configuration is the split that is evaluated. Where tasks share a data set,
each with a configuration of its own, a suite says "name/{config}", and only that configuration will do. Only names are
looked at here: reading is the harness's part.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}
ALSO = {"validation": ("valid", "val", "dev")}
CONFIG = "{config}"
_META = ("dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json")
_SHARD = re.compile(r"-\d+-of-\d+(-[0-9a-f]+)?$")


@dataclass(frozen=True)
class Data:
    """The files of each split, and the builder of `datasets` that reads them."""

    builder: str
    files: Mapping[str, tuple[Path, ...]]

    def overrides(self) -> dict[str, object]:
        """Of a task's config: these data in place of its own."""
        files = {split: [str(path) for path in paths] for split, paths in self.files.items()}
        return {"dataset_path": self.builder, "dataset_name": None, "dataset_kwargs": {"data_files": files}}

    def digest(self) -> str:
        """Of what the files hold."""
        whole = hashlib.sha256()
        for split in sorted(self.files):
            for path in self.files[split]:
                with path.open("rb") as file:
                    whole.update(f"{split} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return whole.hexdigest()


def find_data(folder: Path, data: str, config: str, splits: Sequence[str]) -> Data | None:
    """The data of all `splits`, the first of which is evaluated; None where one of them is not there."""
    for place in places(folder, data, config):
        if len(splits) == 1 and (alone := _alone(place)):
            return Data(BUILDERS[alone[0].suffix], {splits[0]: alone})
        found = {split: _files(place, split) for split in splits}
        suffixes = {path.suffix for paths in found.values() for path in paths}
        if all(found.values()) and len({BUILDERS[suffix] for suffix in suffixes}) == 1:
            return Data(BUILDERS[suffixes.pop()], found)
    return None


def places(folder: Path, data: str, config: str) -> Iterator[Path]:
    """Where a data set may lie: its configuration first."""
    root = folder / data.removesuffix(f"/{CONFIG}")
    if config:
        yield root / config
        yield root / "data" / config
    if not data.endswith(CONFIG):
        yield root
        yield root / "data"
        if not config:
            yield from _only_folder(root)


def _only_folder(place: Path) -> Iterator[Path]:
    """The configuration of a data set that has but one, however it is called."""
    inside = [path for path in place.iterdir() if path.is_dir() and path.name[0] != "."] if place.is_dir() else []
    if len(inside) == 1:
        yield inside[0]


def _alone(place: Path) -> tuple[Path, ...]:
    """The files of a data set that is one split alone: a file beside the folder, or one that `datasets` saved so."""
    for suffix in BUILDERS:
        if (path := place.with_name(place.name + suffix)).is_file():
            return (path,)
    return tuple(sorted(place.glob("*.arrow"))) if (place / "state.json").is_file() else ()


def _files(place: Path, split: str) -> tuple[Path, ...]:
    """The files of a split in a folder, by the first name of it that has any."""
    for name in (split, *ALSO.get(split, ())):
        saved = sorted((place / name).glob("*.arrow"))
        if saved:
            return tuple(saved)
        for suffix in BUILDERS:
            shards = [path for path in sorted(place.glob(f"{name}*{suffix}")) if _split_of(path) == name]
            if shards:
                return tuple(shards)
    return ()


def _split_of(path: Path) -> str:
    """train-00000-of-00002.parquet is of the split train."""
    return "" if path.name in _META else _SHARD.sub("", path.stem)
