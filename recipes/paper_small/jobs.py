"""A job: one command of the project and the folder it fills; and a plan of them: what may start, and what first.

Pure: nothing here runs anything.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from longreach.errors import UserError


@dataclass(frozen=True)
class Job:
    """`words` is the command without its --out, which is the folder of this name."""

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    steps: int = 0  # of training, to tell how far it is
    trained: int = 0  # tokens
    seconds: float = 1.0  # that it will take, about

    @property
    def kind(self) -> str:
        """The command in two words at most."""
        return " ".join(self.words[: 1 if self.words[0] == "text" else 2])


class Plan:
    """Jobs in an order in which each comes after what it needs."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._by_name: dict[str, Job] = {}
        for job in jobs:
            if self._by_name.setdefault(job.name, job) != job:
                raise ValueError(f"two jobs are called {job.name}: {job.words} and {self._by_name[job.name].words}")
        for job in self:
            if missing := [name for name in job.needs if name not in self._by_name]:
                raise ValueError(f"{job.name} needs {', '.join(missing)}, which no job makes")
        self.chains: Mapping[str, float] = self._chains()  # a circle shows here

    def __iter__(self) -> Iterator[Job]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __getitem__(self, name: str) -> Job:
        return self._by_name[name]

    def _chains(self) -> Mapping[str, float]:
        """Seconds from the start of each job to the end of the longest chain that begins with it."""
        followers: dict[str, list[str]] = {name: [] for name in self._by_name}
        for job in self._by_name.values():
            for name in job.needs:
                followers[name].append(job.name)
        found: dict[str, float] = {}

        def chain(name: str, above: tuple[str, ...] = ()) -> float:
            if name in above:
                raise ValueError(f"{' needs '.join((*above, name))}: a circle")
            if name not in found:
                after = (chain(each, (*above, name)) for each in followers[name])
                found[name] = self._by_name[name].seconds + max(after, default=0.0)
            return found[name]

        for name in self._by_name:
            chain(name)
        return found

    def ready(self, done: Collection[str], begun: Collection[str]) -> list[Job]:
        """Those that may start, of the longest chain first."""
        waiting = (job for job in self._by_name.values() if job.name not in done and job.name not in begun)
        able = [job for job in waiting if all(name in done for name in job.needs)]
        return sorted(able, key=lambda job: -self.chains[job.name])

    def seconds_left(self, done: Collection[str], lanes: int) -> float:
        """By the estimates: no less than the longest chain, nor than all work shared by the lanes."""
        left = [job for job in self._by_name.values() if job.name not in done]
        work = sum(job.seconds for job in left) / lanes
        return max(work, max((self.chains[job.name] for job in left), default=0.0))


def needed(jobs: Sequence[Job], wanted: Collection[str]) -> list[Job]:
    """These jobs and all that they need, in the given order."""
    by_name = {job.name: job for job in jobs}
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].needs
    return [job for job in jobs if job.name in found]


def changed(job: Job, words: Sequence[str]) -> UserError:
    """What is said of a job that was begun with another command."""
    before, now = list(words), list(job.words)
    gone = [word for word in before if word not in now]
    new = [word for word in now if word not in before]
    return UserError(
        f"{job.name} was made with other settings:\n  was {' '.join(gone) or '-'}\n  now {' '.join(new) or '-'}",
        "choose another --out, or give the settings as they were; nothing was changed",
    )
