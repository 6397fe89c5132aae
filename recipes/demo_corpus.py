"""Write real documents that every Python installation holds into a folder: the language reference and library sources.

    python recipes/demo_corpus.py FOLDER

The chapters of the reference (pydoc_data.topics, PSF licence) become rows of a JSON lines file; a dozen modules of the
standard library with long documentation are copied as they are.
"""

import json
import sys
import sysconfig
from pathlib import Path
from pydoc_data.topics import topics

MODULES = "argparse asyncio/events configparser datetime decimal difflib doctest enum inspect pathlib statistics typing"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = (
        {"id": name, "text": text, "source": "Python language reference", "license": "PSF-2.0"}
        for name, text in sorted(topics.items())
    )
    (folder / "reference.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in MODULES.split():
        source = library / f"{name}.py"
        if source.exists():
            (folder / source.name).write_bytes(source.read_bytes())
    print(f"{len(topics)} chapters and {len(MODULES.split())} modules -> {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
