"""A job done in this process: its command called as the shell would, its words into a log, its threads counted.

The process is a fork of one that has everything imported, since to load torch, transformers and TRL takes ten times as
long as many of the jobs. The parent has neither started threads nor touched a GPU: both do not survive a fork.
"""

import atexit
import gc
import importlib
import os
import sys
from io import BytesIO
from pathlib import Path

from recipes.paper_small.jobs import Job

HEAVY = (  # what the commands import once they run
    "pretrain.prepare",
    "pretrain.continual",
    "selfinstruct.pipeline",
    "finetune.sft",
    "evaluation.loss",
    "evaluation.retrieval",
    "evaluation.qa",
    "longreach.engines.chatmodel",
    "recipes.paper_small.text",
)
MODULES = {"text": "recipes.paper_small.text"}  # of a command whose words are not those of a package


def load() -> None:
    """Import what all jobs need; before the first fork."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # to ask for a GPU must not start CUDA here
    for name in HEAVY:
        importlib.import_module(name)
    from matplotlib.figure import Figure

    Figure().savefig(BytesIO())  # finds the fonts, once for all
    gc.collect()
    atexit.register(gc.unfreeze)
    gc.freeze()  # a collection in a child need not look at all that was imported, half a second each time


def do(job: Job, folder: Path, log: Path) -> None:
    """Run the command; ends the process with its status."""
    import torch

    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    program, *words = job.words
    words.append(f"--out={folder}")
    sys.argv = [program, *words]  # what a result says that it was made by
    print(f"$ {program} {' '.join(words)}", flush=True)
    if program in MODULES:
        importlib.import_module(MODULES[program]).main(words)
    else:
        importlib.import_module(f"{program}.cli").main(words, prog_name=program)
