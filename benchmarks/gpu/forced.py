"""python -m benchmarks.gpu.forced chosen|flex|varlen WORDS: `pretrain WORDS` by one kernel for all attention."""

import sys

from benchmarks.gpu.kernels import force
from longreach.model import kernels
from pretrain.cli import main

if __name__ == "__main__":
    kernel = sys.argv.pop(1)
    if kernel != "chosen":
        force({"flex": kernels.FLEX, "varlen": kernels.VARLEN}[kernel])
    main()
