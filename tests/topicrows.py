"""The reference of the language, which every Python holds, as documents."""

import json
from pathlib import Path
from pydoc_data.topics import topics

TOPICS = sorted(topics.items())


def write_topics(path: Path, number: int = len(TOPICS), **more: str) -> Path:
    """The first topics, each a row; `more` are fields of every one."""
    rows = [{"id": name, "text": text, **more} for name, text in TOPICS[:number]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
