"""How far the gradients of every engine are from those of one process.

    python -m benchmarks.gradients [--processes 2,4]

The tiny run of the tests, four steps of one to three rows of uneven weight, plain multiples of the gradient, nothing
clipped, float32, gloo. Of each step and parameter the largest difference over the largest element; of the weights
after the last step the largest difference. Kept in docs/parallel.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from tests.parallel_runs import KEPT, MODES, torchrun


def main() -> None:
    """A line for every engine and number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="2,4", help="how many share the work")
    counts = [int(word) for word in parser.parse_args().processes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one"
        one.mkdir()
        torchrun(one, 1, {"ddp": {"plan": KEPT}})
        print("| mode | processes | gradients | weights |\n|---|---:|---:|---:|")
        for count in counts:
            out = Path(folder) / str(count)
            out.mkdir()
            torchrun(out, count, {name: {"plan": KEPT | mode} for name, mode in MODES.items()})
            for name in MODES:
                gradients = max(differences(one / "ddp", out / name))
                print(f"| {name} | {count} | {gradients:.1e} | {largest(one / 'ddp', out / name):.1e} |", flush=True)


def differences(one: Path, other: Path) -> Iterator[float]:
    """Of every step and parameter, of its largest element."""
    for step in range(1, 5):
        ours, theirs = (load_file(folder / f"gradients-{step}.safetensors") for folder in (one, other))
        yield from (float((ours[name] - theirs[name]).abs().max() / ours[name].abs().max()) for name in ours)


def largest(one: Path, other: Path) -> float:
    """Of all weights of the finished models."""
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


if __name__ == "__main__":
    main()
