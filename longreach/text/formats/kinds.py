"""Which file is read how: told by its name alone, before anything is opened."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import PurePath

from longreach.errors import missing_extra
from longreach.text.document import Skipped
from longreach.text.formats.source import Row, Source

Reader = Callable[[Source], Iterator[Row | Skipped]]

PLAIN = frozenset(
    ".txt .text .md .markdown .mdx .rst .adoc .asciidoc .org .tex .texi .log .srt .vtt .py .pyi .pyx .c .h .cc "
    ".cpp .cxx .hh .hpp .hxx .cu .cuh .rs .go .java .kt .kts .scala .groovy .clj .js .mjs .cjs .jsx .ts .tsx .vue "
    ".svelte .css .scss .less .php .rb .pl .pm .lua .r .jl .swift .dart .cs .fs .vb .hs .ml .mli .ex .exs .erl "
    ".elm .nim .zig .d .v .sv .vhd .f .f90 .for .pas .adb .ads .asm .s .sh .bash .zsh .fish .ps1 .bat .awk .sed "
    ".sql .graphql .proto .thrift .tf .nix .cmake .mk .gradle .bzl .toml .yaml .yml .ini .cfg .conf .xml .xsd "
    ".xsl .lisp .el .scm .rkt .tcl .vim .j2 .jinja .patch .diff".split()
)
PLAIN_NAMES = frozenset(  # what stands before a suffix that says nothing: README, LICENSE.BSD, NEWS.Debian
    "readme license copying copyright notice authors changes changelog news todo install makefile dockerfile".split()
)
KINDS = {
    **dict.fromkeys(PLAIN, "plain"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    ".json": "json",
    ".pdf": "pdf",
    ".docx": "docx",
    ".epub": "epub",
    ".parquet": "parquet",
}
COMPRESSED = (".gz", ".zst")
DOCUMENTS = frozenset(("plain", "html", "pdf", "docx", "epub"))  # one text, no rows
STREAMED = frozenset(("plain", "html", "jsonl", "json", "csv"))  # may be compressed: read from front to back
NEEDS = {"html": "selectolax", "epub": "selectolax", "pdf": "pypdfium2", "parquet": "pyarrow"}  # the extra `documents`


def kind_of(path: str) -> str:
    """The kind of file this is; empty if its name does not say."""
    name = PurePath(path)
    compressed = name.suffix.lower() in COMPRESSED
    if compressed:
        name = name.with_suffix("")
    kind = KINDS.get(name.suffix.lower(), "plain" if name.name.partition(".")[0].lower() in PLAIN_NAMES else "")
    return "" if compressed and kind not in STREAMED else kind


def require_packages(source: Source) -> None:
    """Raise the error that names the missing package, before a long run meets the file."""
    needed = [NEEDS.get(source.kind), "zstandard" if source.path.lower().endswith(".zst") else None]
    for package in filter(None, needed):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, f"reading {source.name}", "documents")


def reader(kind: str) -> Reader:
    """The function that reads this kind; its packages are loaded only now."""
    match kind:
        case "plain":
            from longreach.text.formats import plain

            return plain.read
        case "html":
            from longreach.text.formats import html

            return html.read
        case "jsonl":
            from longreach.text.formats import jsonrows

            return jsonrows.read
        case "json":
            from longreach.text.formats import jsonvalues

            return jsonvalues.read
        case "csv":
            from longreach.text.formats import csvrows

            return csvrows.read
        case "pdf":
            from longreach.text.formats import pdf

            return pdf.read
        case "docx":
            from longreach.text.formats import docx

            return docx.read
        case "epub":
            from longreach.text.formats import epub

            return epub.read
        case "parquet":
            from longreach.text.formats import parquet

            return parquet.read
        case "dataset":
            from longreach.text.formats import hub

            return hub.read
    raise ValueError(f"no such kind of file: {kind}")
