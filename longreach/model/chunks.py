"""How much is in memory at a time: plain numbers, so that it can be planned without torch."""

LOGITS = 2**23  # of one chunk of the loss: 32 MB in fp32; four times as many are no faster on a CPU
LOGITS_ON_GPU = 2**28  # 1 GB in fp32: the head is read once a chunk; an H100 takes 1.2 to 1.8 times as long with 2**26
TILE = 4096  # words of the head converted to fp32 at a time
FEWEST = 64  # positions of a chunk, however many the words
MOMENTS_BYTES = 4_000_000_000  # of the optimizer's moments in one file of a checkpoint


def positions_at_once(positions: int, words: int, logits: int) -> int:
    """Positions of a chunk that holds `logits` of `words` each."""
    return min(positions, max(FEWEST, logits // words))
