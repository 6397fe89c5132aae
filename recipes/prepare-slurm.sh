#!/usr/bin/env bash
# Rows from many machines: a SLURM array whose tasks tokenize a shard of the documents each, and a job that packs them.
#   recipes/prepare-slurm.sh DOCS TOKENIZER [OUT]
# DOCS       documents: a folder, file, glob, dataset or URL, as every node sees it
# TOKENIZER  of the model to be trained: a folder or hub id
# Start it where sbatch is, OUT on a disk that all nodes share. SHARDS, CPUS of a task and SEQ_LEN are taken from the
# environment. Out of time or killed: start it again. Each task goes on where it was, and one that is finished does
# nothing. The rows are in OUT; the tokens in OUT/shards are needed until then. More sources, a mix: more options in
# the one line of `prepare`; the merge takes its settings from the shards.
set -euo pipefail
(($# == 2 || $# == 3)) || { echo "usage: $0 DOCS TOKENIZER [OUT]" >&2; exit 2; }
docs=$1 tokenizer=$2 out=${3:-runs/rows} shards=${SHARDS:-16} cpus=${CPUS:-16}

case ${STEP:-submit} in
submit) # the merge waits until every task of the array has ended well
    array=$(sbatch --parsable --export=ALL,STEP=prepare --array="0-$((shards - 1))" --cpus-per-task="$cpus" "$0" "$@")
    sbatch --export=ALL,STEP=merge --dependency="afterok:$array" --kill-on-invalid-dep=yes "$0" "$@"
    ;;
prepare)
    pretrain prepare --source "text=$docs" --tokenizer "$tokenizer" --seq-len "${SEQ_LEN:-32768}" --workers "$cpus" \
        --shard "$SLURM_ARRAY_TASK_ID/$shards" --out "$out/shards/$SLURM_ARRAY_TASK_ID"
    ;;
merge)
    pretrain merge "$out" "$out"/shards/*
    ;;
esac
