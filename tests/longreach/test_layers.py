"""The architecture as a test: who may import whom, no cycles, nothing heavy for --help. Offenders are named."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = "longreach"
COMMANDS = ("selfinstruct", "pretrain", "finetune", "evaluation")
OF_CLI = {"click", LIBRARY}  # what a command's cli.py may import beside its own package and the standard library
HEAVY = "torch vllm transformers trl peft datasets pyarrow tokenizers gigatoken matplotlib numpy aiohttp fsspec".split()


@dataclass(frozen=True)
class Import:
    """One import statement: `importer` is the module that holds it, `target` what it names."""

    importer: str
    target: str
    place: str  # path:line

    @property
    def package(self) -> str:
        return self.target.partition(".")[0]


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file, of every package of ours that is there."""
    files = (path for package in (LIBRARY, *COMMANDS) for path in sorted((root / package).rglob("*.py")))
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imports(root: Path, known: Mapping[str, Path]) -> Iterator[Import]:
    """Every import, those inside functions and import_module("...") included; relative ones as they stand."""
    for module, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
            yield from (Import(module, target, place) for target in _targets(node, known))


def _targets(node: ast.AST, known: Mapping[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        inside = [f"{base}.{alias.name}" for alias in node.names]
        yield from [name for name in inside if name in known] or [base]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))


def violations(root: Path) -> list[str]:
    """Every broken rule, with its place."""
    known = modules(root)
    found = list(imports(root, known))
    return [
        *(f"{path.relative_to(root)} is not empty" for path in known.values() if _is_filled_init(path)),
        *(f"{each.place}: relative import of {each.target}" for each in found if each.target.startswith(".")),
        *(f"{each.place}: {why}" for each in found if (why := _forbidden(each))),
        *(f"import cycle: {' -> '.join(cycle)}" for cycle in cycles(graph(found, known))),
    ]


def _is_filled_init(path: Path) -> bool:
    return path.name == "__init__.py" and path.stat().st_size > 0


def _forbidden(each: Import) -> str:
    home = each.importer.partition(".")[0]
    if each.package in COMMANDS and each.package != home:
        return f"{home} imports {each.target}, of the command {each.package}"
    allowed = {*OF_CLI, home, *sys.stdlib_module_names}
    if home in COMMANDS and each.importer == f"{home}.cli" and each.package.strip(".") not in allowed:
        return f"the cli of {home} imports {each.target}"
    return ""


def graph(found: list[Import], known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Which of our modules imports which."""
    edges: dict[str, set[str]] = {module: set() for module in known}
    for each in found:
        if each.target in known:
            edges[each.importer].add(each.target)
    return edges


def cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """One cycle for each way back that a depth-first walk meets, as the path from a module to itself."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> None:
        for target in sorted(edges[module]):
            if target in path:
                found.append([*path[path.index(target) :], target])
            elif target not in done:
                walk(target, [*path, target])
        done.add(module)

    for module in sorted(edges):
        if module not in done:
            walk(module, [module])
    return found


def loaded_by_help(root: Path, package: str) -> str:
    """The heavy modules that the help of a command and of each of its subcommands loads, in an interpreter of its own;
    empty for none."""
    script = (
        "import sys\n"
        f"from {package}.cli import main\n"
        "for words in [[], *([name] for name in getattr(main, 'commands', ()))]:\n"
        "    main([*words, '--help'], standalone_mode=False)\n"
        f"sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "Usage:" in ended.stdout
    return ended.stderr


def test_the_layers_hold() -> None:
    assert not violations(ROOT), "\n" + "\n".join(violations(ROOT))


@pytest.mark.parametrize("package", [name for name in COMMANDS if (ROOT / name / "cli.py").exists()])
def test_help_loads_nothing_heavy(package: str) -> None:
    assert not loaded_by_help(ROOT, package)


# The rules on a tree with planted mistakes


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project that breaks no rule."""
    for name, code in {
        "longreach/__init__.py": "",
        "longreach/run.py": "import orjson\n",
        "longreach/journal.py": "from longreach.run import x\n",
        "selfinstruct/__init__.py": "",
        "selfinstruct/plan.py": "from longreach import journal\n",
        "selfinstruct/cli.py": "import sys\nimport click\nfrom longreach.run import y\nimport selfinstruct.plan\n",
        "finetune/__init__.py": "",
        "finetune/mix.py": "import longreach.journal\n",
    }.items():
        plant(tmp_path, name, code)
    return tmp_path


def plant(root: Path, name: str, code: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(code)


def test_a_clean_tree_passes(tree: Path) -> None:
    assert violations(tree) == []


@pytest.mark.parametrize(
    ("name", "code", "complaint"),
    [
        ("longreach/run.py", "def f():\n    import selfinstruct.plan\n", "longreach/run.py:2: longreach imports self"),
        ("finetune/mix.py", "from selfinstruct import plan\n", "finetune/mix.py:1: finetune imports selfinstruct.plan"),
        ("selfinstruct/plan.py", "import finetune\n", "selfinstruct/plan.py:1: selfinstruct imports finetune"),
        ("longreach/run.py", "x = import_module('finetune.mix')\n", "longreach/run.py:1: longreach imports finetune"),
        ("longreach/run.py", "from . import journal\n", "longreach/run.py:1: relative import of ."),
        ("longreach/__init__.py", "x = 1\n", "longreach/__init__.py is not empty"),
        ("selfinstruct/cli.py", "def f():\n    from jinja2 import meta\n", "cli.py:2: the cli of selfinstruct imports"),
        ("longreach/run.py", "import longreach.run\n", "import cycle: longreach.run -> longreach.run"),
        (
            "longreach/run.py",
            "def f():\n    from longreach import journal\n",
            "import cycle: longreach.journal -> longreach.run -> longreach.journal",
        ),
    ],
)
def test_a_planted_mistake_is_named(tree: Path, name: str, code: str, complaint: str) -> None:
    plant(tree, name, code)
    assert any(complaint in line for line in violations(tree)), violations(tree)


def test_a_heavy_import_behind_help_is_named(tmp_path: Path) -> None:
    plant(tmp_path, "torch.py", "")
    plant(tmp_path, "pretrain/__init__.py", "")  # else an installed pretrain goes first
    plant(tmp_path, "pretrain/plan.py", "def f():\n    import torch\n")
    command = "import click\n@click.command()\ndef main():\n    import torch\n"
    plant(tmp_path, "pretrain/cli.py", command)
    assert loaded_by_help(tmp_path, "pretrain") == ""
    plant(tmp_path, "pretrain/cli.py", command + "import pretrain.plan\npretrain.plan.f()\n")
    assert loaded_by_help(tmp_path, "pretrain") == "torch"
