"""The serving model of `selfinstruct generate --dry-run` beside throughputs that others published; Markdown on stdout.

    python -m benchmarks.serving_published

No row is one of ours: vLLM was not run on a GPU here. The range of the plan is that of longreach.plan.serving.
"""

from dataclasses import dataclass

from longreach.model.aliases import aliases
from longreach.model.flops import shape_of
from longreach.plan.gpus import GPUS
from longreach.plan.serving import BEST, USUAL, WORST, Load, Reached, Server, cache_tokens, gpu_hours

TRT = "TensorRT-LLM 0.6.1, FP16"  # docs/source/performance.md, A100: output tokens/s of a GPU
VLLM = "vLLM 0.6.6, 200 prompts"  # github.com/vllm-project/vllm/issues/12315: 755.85 output tokens/s of four GPUs


@dataclass(frozen=True)
class Row:
    """Requests of one size, `batch` at once; `published` is in reply tokens a second of each GPU."""

    who: str
    model: str
    gpu: str
    gpus: int
    batch: int
    prompt: int
    reply: int
    published: float

    def planned(self, reached: Reached) -> float:
        """Reply tokens a second of each GPU."""
        shape, gpu, load = shape_of(aliases()[self.model].config), GPUS[self.gpu], Load()
        load.add(self.prompt, 0, self.reply)
        at = Server(self.gpus, cache_tokens(shape, gpu, self.gpus), self.batch)
        return self.reply / (gpu_hours(shape, gpu, at, load, reached, cached=False).total * 3600)


ROWS = (
    Row(TRT, "llama2-7b", "a100-80", 1, 384, 128, 128, 5_586),
    Row(TRT, "llama2-7b", "a100-80", 1, 60, 128, 2_048, 1_928),
    Row(TRT, "llama2-7b", "a100-80", 1, 52, 2_048, 128, 591),
    Row(TRT, "llama2-7b", "a100-80", 2, 64, 2_048, 2_048, 782),
    Row(TRT, "llama2-70b", "a100-80", 4, 1_280, 128, 128, 670),
    Row(TRT, "llama2-70b", "a100-80", 4, 240, 128, 2_048, 525),
    Row(TRT, "llama2-70b", "a100-80", 4, 120, 2_048, 128, 79),
    Row(VLLM, "llama3.1-70b", "a100-80", 4, 200, 213, 218, 755.85 / 4),
)


def main() -> None:
    """The table."""
    print("| who | model | GPUs | at once | prompt + reply | published | planned | its range | planned / published |")
    print("|---|---|---|---:|---|---:|---:|---|---:|")
    for row in ROWS:
        usual, worst, best = (row.planned(reached) for reached in (USUAL, WORST, BEST))
        print(
            f"| {row.who} | {row.model} | {row.gpus} {row.gpu} | {row.batch:,} | {row.prompt:,} + {row.reply:,} | "
            f"{row.published:,.0f} | {usual:,.0f} | {worst:,.0f} to {best:,.0f} | {usual / row.published:.2f} |"
        )


if __name__ == "__main__":
    main()
