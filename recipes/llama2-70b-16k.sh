#!/usr/bin/env bash
# Llama 2 Long 70B at 16,384 tokens, the method of arXiv:2309.16039: base model to measured chat model, on many nodes.
#   NNODES=32 NODE_RANK=0 MASTER_ADDR=HOST recipes/llama2-70b-16k.sh BOOKS WEB CHATS HELD_OUT TASK_DATA [OUT]
# BOOKS, WEB  pretraining text, long documents and all other: a folder, file, glob or dataset
# CHATS       short chats, in any form of docs/finetune.md
# HELD_OUT    long documents that no training sees
# TASK_DATA   data of published tasks, as `evaluate harness --list` names them
# Start it on every node (srun sets SLURM_NNODES and SLURM_NODEID), OUT on a disk that all share. The first node does
# all but training; the others wait for it. BASE, CHAT_MODEL, GPUS and STEPS are taken from the environment, too.
#
# It has NOT been run at this size: tests/test_recipes.py gives every line to the real commands, which read it, no more.
# In training the GPUs share the model (FSDP): `pretrain plan` has 76.7 GB on each of 32, which fits 80 GB of an H100,
# and 46.6 GB on each of 256; on 16 it does not fit (111 GB), there the optimizer has to be on the hosts
# (recipes/deepspeed-zero3-offload.json). Killed and started again, it goes on where it was.
set -euo pipefail
usage="usage: NNODES=N NODE_RANK=I MASTER_ADDR=HOST $0 BOOKS WEB CHATS HELD_OUT TASK_DATA [OUT]"
nodes=${NNODES:-${SLURM_NNODES:-}} node=${NODE_RANK:-${SLURM_NODEID:-}} master=${MASTER_ADDR:-}
(($# == 5 || $# == 6)) && [[ $nodes && $node && $master ]] || { echo "$usage" >&2; exit 2; }
books=$1 web=$2 chats=$3 held_out=$4 task_data=$5 out=${6:-runs/llama2-70b-16k}
base=${BASE:-meta-llama/Llama-2-70b-hf} chat_model=${CHAT_MODEL:-meta-llama/Llama-2-70b-chat-hf}
gpus=${GPUS:-8} steps=${STEPS:-100000} batch=4194304 results=$out/results
vllm=(--engine vllm --engine-args "{\"tensor_parallel_size\": $gpus}")
first() { [[ $node != 0 ]] || "$@"; }
everywhere() { # PACKAGE COMMAND OPTIONS; the others wait for the first node, for a month if need be
    torchrun --nnodes "$nodes" --node-rank "$node" --nproc-per-node "$gpus" --master-addr "$master" \
        --rdzv-conf timeout=2592000 -m "$@"
}

# Sec. 2.1: Llama 2's kinds of text in their proportions, long documents taken more often. Five times as often, long
# from a quarter of a row on, and a ten-thousandth held out: ours.
first pretrain prepare --source "books=$books" --source "web=$web" --preset llama2-long --tokenizer "$base" \
    --seq-len 16384 --tokens $((steps * batch)) --validation 0.0001 --out "$out/rows"

# Sec. 2.1: RoPE's base from 10,000 to 500,000, full attention, 100,000 steps of 4M tokens (2^22), 1e-5 at the peak: at
# more the loss of large models does not fall steadily. 2,000 steps of warm-up and the cosine (said of 7B and 13B) are
# defaults; so are AdamW, decay and clipping, Llama 2's. A step is 256 rows, which all GPUs together have to divide.
everywhere pretrain continue --base "$base" --data "$out/rows" --rope abf:500000 --steps "$steps" \
    --batch-tokens "$batch" --learning-rate 1e-5 --gradient-checkpointing --fsdp full_shard --out "$out/long"

# Sec. 3.1, 4.1: loss by length and its power law (one GPU has to hold the 140 GB of weights), retrieval, short and
# long tasks (code only with --run-code), before and after; the base within its window.
measure() { # MODEL NAME LENGTHS of retrieval
    evaluate loss --model "$1" --docs "$held_out" --lengths 1024,2048,4096,8192,16384 --out "$results/$2/loss"
    evaluate retrieval --model "$1" --docs "$held_out" --task first-sentence,passkey --lengths "$3" "${vllm[@]}" \
        --out "$results/$2/retrieval"
    evaluate harness --model "$1" --suite short,paper-long --data-dir "$task_data" "${vllm[@]}" \
        --out "$results/$2/harness"
}
first measure "$base" base 1024,2048,4096
first measure "$out/long" long 1024,2048,4096,8192,16384
first evaluate compare "$results/base" "$results/long" --out "$out/pretrained"

# Sec. 2.2, App. D: Llama 2 Chat writes pairs from parts of long documents, one task a part, and judges them itself (the
# critique is a default check). The size of this model, 10,000 documents and 4 parts of each (a default): ours.
generate() { # DOCS RUN LIMIT
    selfinstruct generate --docs "$1" --model "$chat_model" --tokenizer "$chat_model" "${vllm[@]}" \
        --tasks short_answer,long_answer --tasks-per-chunk 1 --context-tokens 16384 --limit "$3" --out "$2"
}
first generate "$books" "$out/records" 10000
first generate "$held_out" "$out/questions" 200

# Sec. 2.2: the loss on the whole of a record, on answers of short chats, in rows of 16,384 tokens (a default). A fifth
# of the tokens from records, and by default 2 epochs, 1e-5 at the peak and 262,144 tokens a step: ours.
sft=(--base "$out/long" --long "$out/records" --short "$chats" --mix long:short=0.2:0.8
    --loss long=all,short=answer --seq-len 16384 --gradient-checkpointing --out "$out/chat")
first finetune mix "${sft[@]}"
everywhere finetune sft "${sft[@]}" --fsdp full_shard

# Held-out questions before and after tuning; Sec. 3.2, 5.1: ZeroSCROLLS, L-Eval, safety, beside the short chat model.
chat_tasks=(--suite zeroscrolls,l-eval,safety --style chat --data-dir "$task_data" "${vllm[@]}")
first evaluate qa --model "$out/long" --records "$out/questions" "${vllm[@]}" --out "$results/long/qa"
first evaluate qa --model "$out/chat" --records "$out/questions" "${vllm[@]}" --out "$results/chat/qa"
first evaluate compare "$results/long/qa" "$results/chat/qa" --out "$out/tuned"
first evaluate harness --model "$chat_model" "${chat_tasks[@]}" --out "$results/baseline/harness"
first evaluate harness --model "$out/chat" "${chat_tasks[@]}" --out "$results/chat/harness"
first evaluate compare "$results/baseline" "$results/chat" --out "$out/chats"

# Sec. 5.2: instructions hidden in long text; --prompts puts adversarial prompts of your own behind it.
first evaluate red-team --model "$out/chat" --docs "$held_out" --lengths 4096,8192,16384 "${vllm[@]}" \
    --out "$results/chat/red-team"
