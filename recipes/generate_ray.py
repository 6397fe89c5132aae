"""Records from a Ray cluster: each shard of the documents is a task of its own, and the last step joins them.

    python recipes/generate_ray.py 16 runs/books --docs /data/books --engine vllm --model Qwen/Qwen3-32B

The first two are the number of shards and the folder of the run, on a disk that all nodes share; the rest are options
of `selfinstruct generate`, paths as every node sees them. Needs `pip install ray` beside longreach[vllm] on every node.
A task that is lost with its node starts on another and goes on where its shard was. With failures, or killed: the same
command again; a shard that is finished asks nothing.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import ray
except ModuleNotFoundError:
    raise SystemExit("error: Ray is not installed\n  hint: pip install ray") from None


def shard(folder: str, part: str, arguments: Sequence[str]) -> int:
    """Ask about one part of the documents; the exit status of the command."""
    command = [sys.executable, "-m", "selfinstruct", "generate", *arguments, "--shard", part, "--out", folder]
    return subprocess.run(command, check=False).returncode


def generate(number: int, out: Path, gpus: float, arguments: Sequence[str]) -> None:
    """All shards, as many at once as the cluster has room for, and the run that they make together."""
    task = ray.remote(num_gpus=gpus, max_retries=-1)(shard)
    folders = [str(out / "shards" / str(index)) for index in range(number)]
    running = [task.remote(folder, f"{index}/{number}", arguments) for index, folder in enumerate(folders)]
    unfinished = [folder for folder, status in zip(folders, ray.get(running), strict=True) if status]
    if unfinished:
        raise SystemExit(f"not finished, what is wrong stands above: {', '.join(unfinished)}")
    subprocess.run([sys.executable, "-m", "selfinstruct", "merge", str(out), *folders], check=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("shards", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gpus-per-shard", type=float, default=1.0, help="that a task of Ray takes; 0: none")
    given, arguments = parser.parse_known_args()
    ray.init()
    generate(given.shards, given.out.resolve(), given.gpus_per_shard, arguments)


if __name__ == "__main__":
    main()
