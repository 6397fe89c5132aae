"""Several training runs of tinyrun.py one after the other in the same processes, with what each step's gradient was.

torchrun ... tests/parallel_runs.py RUNS.json   a list of {"out": folder, "plan": fields of Plan, "spoil": a name below}

What a run is refused with is written to its folder as refused.txt.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file

import tinyrun
from longreach.errors import UserError
from longreach.model.stages import Leg
from longreach.model.train import Run
from longreach.model.trainer import LongTrainer
from longreach.ranks import rank
from tinyrun import Plan, tiny_run

ROOT = Path(__file__).parents[1]
RECIPES, OTHERS = ROOT / "recipes", ROOT / "tests/longreach/model/parallel"
# 1, 2, 3, 1 rows a step, of uneven weight, each a micro-batch; steps are plain multiples of the gradient, none is clipped
RAGGED = {
    "steps": "4@64",
    "micro_batch_tokens": 64,
    "ragged": True,
    "samples": True,
    "clip": 0.0,
    "learning_rate": 0.3,
    "epsilon": 1.0,
}
KEPT = {**RAGGED, "keep_checkpoints": 0}
FSDP = {"fsdp": "full_shard"}
ZERO1, ZERO2, ZERO3, OFFLOAD = (
    {"deepspeed": str(RECIPES / f"deepspeed-{name}.json")} for name in ("zero1", "zero2", "zero3", "zero3-offload")
)
SHARED = {"sequence": 2}
MODES: dict[str, dict[str, Any]] = {
    "ddp": {},
    "ddp-shared": SHARED,
    "fsdp": FSDP,
    "fsdp-shared": FSDP | SHARED,
    "fsdp-grad-op": {"fsdp": "shard_grad_op"},
    "zero1": ZERO1,
    "zero1-shared": ZERO1 | SHARED,
    "zero2": ZERO2,
    "zero2-shared": ZERO2 | SHARED,
    "zero3": ZERO3,
    "zero3-shared": ZERO3 | SHARED,
    "offload": OFFLOAD,
    "zero2-offload": {"deepspeed": str(OTHERS / "zero2-offload.json")},
    "offload-all": {"deepspeed": str(OTHERS / "zero3-offload-all.json")},
}


def main(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        out = Path(run["out"])
        with gradients_written(out), SPOILS[run["spoil"]]() if "spoil" in run else ExitStack():
            try:
                tiny_run(out, Plan(**run["plan"]))
            except UserError as error:
                if rank() == 0:
                    (out / "refused.txt").write_text(str(error))


@contextmanager
def gradients_written(out: Path) -> Iterator[None]:
    """gradients-N.safetensors of step N, as they are after clipping."""
    stock = LongTrainer._get_grad_norm

    def written(self: LongTrainer, *args: Any, **kwargs: Any) -> float:
        whole = {name: each.contiguous().clone() for name, each in self._engine.gradients()}
        if rank() == 0:
            save_file(whole, out / f"gradients-{self.state.global_step + 1}.safetensors")
        return stock(self, *args, **kwargs)

    with patch.object(LongTrainer, "_get_grad_norm", written):
        yield


@contextmanager
def mixing_layers() -> Iterator[None]:
    """A model that adds the mean of the row to every token: no attention, and nobody tells it of other processes."""
    stock: Callable[..., Any] = tinyrun.tiny_model

    def mixing(*args: Any) -> Any:
        model = stock(*args)
        model.model.layers[0].mlp.register_forward_hook(lambda module, given, found: found + found.mean(1, True))
        return model

    with patch.object(tinyrun, "tiny_model", mixing), patch("longreach.model.preflight.check_isolation"):
        yield


@contextmanager
def bad_step() -> Iterator[None]:
    """The loss of step 3 is no number."""
    stock = LongTrainer.compute_loss

    def spoiled(self: LongTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        return stock(self, *args, **kwargs) * (torch.nan if self.state.global_step == 2 else 1)

    with patch.object(LongTrainer, "compute_loss", spoiled):
        yield


@contextmanager
def killed() -> Iterator[None]:
    """The second process is no more after step 3."""
    stock = LongTrainer.compute_loss

    def ending(self: LongTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if rank() == 1 and self.state.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return stock(self, *args, **kwargs)

    with patch.object(LongTrainer, "compute_loss", ending):
        yield


@contextmanager
def watched() -> Iterator[None]:
    """How many models were there when another one was loaded: lines of alive-RANK.txt."""
    stock, models = Run._model, list[weakref.ref[Any]]()

    def loading(self: Run, leg: Leg) -> Any:
        with (self.checkpoints.folder / f"alive-{rank()}.txt").open("a") as file:
            print(sum(each() is not None for each in models), file=file)
        model = stock(self, leg)
        models.append(weakref.ref(model))
        return model

    with patch.object(Run, "_model", loading):
        yield


def torchrun(folder: Path, processes: int, runs: dict[str, dict[str, Any]], status: int = 0) -> str:
    """Make the runs, each in a folder of its own name; what was said."""
    given = [{"out": str(folder / name), **run} for name, run in runs.items()]
    path = folder / f"runs-{processes}.json"
    path.write_bytes(json.dumps(given).encode())
    return started(processes, "tests/parallel_runs.py", path, status=status)


def started(processes: int, *words: object, status: int = 0) -> str:
    """What a script, or `-m` and a package, says under torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--master-addr=127.0.0.1"]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        [sys.executable, *command, f"--master-port={port}", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == status, ended.stderr[-6_000:]
    assert not ended.stdout  # results alone stand there
    return ended.stderr


SPOILS: dict[str, Callable[[], Any]] = {
    "mixing": mixing_layers,
    "bad step": bad_step,
    "killed": killed,
    "watched": watched,
}

if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
