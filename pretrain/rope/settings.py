"""The settings of `pretrain rope`."""

from dataclasses import dataclass

from longreach.config import setting
from longreach.errors import UserError

SHORTEST, LONGEST = 16, 16_777_216


@dataclass(frozen=True, kw_only=True)
class RopeSettings:
    """Whose RoPE is looked at, and for which length."""

    base: str = setting(
        "llama2-7b", "Alias, folder, config.json or hub id; only its configuration is read.", metavar="M"
    )
    seq_len: int = setting(32_768, "The length to train at.", metavar="N")
    out: str = setting("", "Also draw it, as a PNG.", metavar="F.png", shapes_output=False)

    def __post_init__(self) -> None:
        problems = []
        if not SHORTEST <= self.seq_len <= LONGEST:
            problems.append(f"--seq-len {self.seq_len}: from {SHORTEST} to {LONGEST:,} tokens can be looked at")
        if self.out and not self.out.lower().endswith(".png"):
            problems.append(f"--out {self.out}: the picture is a PNG")
        if problems:
            raise UserError("\n".join(problems), "pretrain rope --help")
