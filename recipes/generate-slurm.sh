#!/usr/bin/env bash
# Records from many GPUs: a SLURM array whose tasks ask about a shard of the documents each, and a job that joins them.
#   recipes/generate-slurm.sh DOCS MODEL [OUT]
# DOCS   documents: a folder, file, glob or dataset, as every node sees it
# MODEL  a chat model that fits on one GPU: a folder or hub id
# Start it where sbatch is, OUT on a disk that all nodes share. SHARDS is taken from the environment, 16 by default; all
# of them need not run at once. Out of time, killed or with failures: start it again. Each task goes on where it was,
# and one that is finished asks nothing. The records are in OUT, each shard's run in OUT/shards.
set -euo pipefail
(($# == 2 || $# == 3)) || { echo "usage: $0 DOCS MODEL [OUT]" >&2; exit 2; }
docs=$1 model=$2 out=${3:-runs/generated} shards=${SHARDS:-16}

case ${STEP:-submit} in
submit) # the merge waits until every task of the array has ended well
    array=$(sbatch --parsable --export=ALL,STEP=generate --array="0-$((shards - 1))" --gpus=1 --cpus-per-task=8 "$0" "$@")
    sbatch --export=ALL,STEP=merge --dependency="afterok:$array" --kill-on-invalid-dep=yes --cpus-per-task=8 "$0" "$@"
    ;;
generate)
    selfinstruct generate --docs "$docs" --engine vllm --model "$model" --tokenizer "$model" \
        --shard "$SLURM_ARRAY_TASK_ID/$shards" --out "$out/shards/$SLURM_ARRAY_TASK_ID"
    ;;
merge)
    selfinstruct merge "$out" "$out"/shards/*
    ;;
esac
