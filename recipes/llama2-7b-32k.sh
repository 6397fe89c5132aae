#!/usr/bin/env bash
# Llama 2 Long 7B at 32,768 tokens, the method of arXiv:2309.16039: base model to measured chat model, on one node.
#   recipes/llama2-7b-32k.sh BOOKS WEB CHATS HELD_OUT TASK_DATA [OUT]
# BOOKS, WEB  pretraining text, long documents and all other: a folder, file, glob or dataset
# CHATS       short chats, in any form of docs/finetune.md
# HELD_OUT    long documents that no training sees
# TASK_DATA   data of published tasks, as `evaluate harness --list` names them
# BASE, BASELINE, GENERATOR, GPUS and STEPS are taken from the environment; their defaults stand below.
#
# It has NOT been run at this size: tests/test_recipes.py gives every line to the real commands, which read it, no more.
# In training the GPUs share the model (FSDP): `pretrain plan` has 33 GB on each of 8, 74 GB on each of 2. Whole, 16
# bytes a parameter, it would be 142 GB.
# 100,000 steps are 3.8e22 FLOPs, five months of 8 GPUs at 350 TFLOP/s each; STEPS=1200 are 5B tokens, which Fu et al.
# (arXiv:2402.10171) found enough. Killed and started again, it goes on where it was.
set -euo pipefail
(($# == 5 || $# == 6)) || { echo "usage: $0 BOOKS WEB CHATS HELD_OUT TASK_DATA [OUT]" >&2; exit 2; }
books=$1 web=$2 chats=$3 held_out=$4 task_data=$5 out=${6:-runs/llama2-7b-32k}
base=${BASE:-meta-llama/Llama-2-7b-hf} baseline=${BASELINE:-meta-llama/Llama-2-7b-chat-hf}
generator=${GENERATOR:-meta-llama/Llama-2-70b-chat-hf} gpus=${GPUS:-8} steps=${STEPS:-100000}
batch=4194304 lengths=1024,2048,4096,8192,16384,32768 results=$out/results

# Sec. 4.1, App. B: how far positions reach with each base.
pretrain rope --base llama2-7b --seq-len 32768 --out "$out/rope.png"

# Sec. 2.1: Llama 2's kinds of text in their proportions, long documents taken more often. Five times as often, long
# from a quarter of a row on, and a ten-thousandth held out: ours.
pretrain prepare --source "books=$books" --source "web=$web" --preset llama2-long --tokenizer "$base" \
    --seq-len 32768 --tokens $((steps * batch)) --validation 0.0001 --out "$out/rows"

# Sec. 2.1: RoPE's base from 10,000 to 500,000, full attention, 100,000 steps of 4M tokens (2^22), 2e-5 at the peak.
# 2,000 steps of warm-up and the cosine are defaults; so are AdamW, decay and clipping, Llama 2's: the paper is silent.
torchrun --nproc-per-node "$gpus" -m pretrain continue --base "$base" --data "$out/rows" --rope abf:500000 \
    --steps "$steps" --batch-tokens "$batch" --learning-rate 2e-5 --gradient-checkpointing --fsdp full_shard \
    --out "$out/long"

# Sec. 3.1, 4.1: loss by length and its power law, retrieval, short and long tasks (code only with --run-code), before
# and after. Beyond its window the base is asked by transformers alone.
measure() { # MODEL NAME [OPTIONS of retrieval]
    evaluate loss --model "$1" --docs "$held_out" --lengths "$lengths" --out "$results/$2/loss"
    evaluate retrieval --model "$1" --docs "$held_out" --task first-sentence,passkey --lengths "$lengths" \
        --out "$results/$2/retrieval" "${@:3}"
    evaluate harness --model "$1" --suite short,paper-long --data-dir "$task_data" --out "$results/$2/harness"
}
measure "$base" base --engine transformers --past-window
measure "$out/long" long
evaluate compare "$results/base" "$results/long" --out "$out/pretrained"

# Sec. 2.2, App. D: Llama 2 Chat writes pairs from parts of long documents, one task a part, and judges them itself (the
# critique is a default check). The size of this model, 10,000 documents and 4 parts of each (a default): ours.
generate() { # DOCS RUN LIMIT
    selfinstruct generate --docs "$1" --engine vllm --engine-args "{\"tensor_parallel_size\": $gpus}" \
        --model "$generator" --tokenizer "$generator" --tasks short_answer,long_answer --tasks-per-chunk 1 \
        --context-tokens 32768 --limit "$3" --out "$2"
}
generate "$books" "$out/records" 10000
generate "$held_out" "$out/questions" 200

# Sec. 2.2: the loss on the whole of a record, on answers of short chats, in rows of 16,384 tokens (a default). A fifth
# of the tokens from records, and by default 2 epochs, 2e-5 at the peak and 262,144 tokens a step: ours.
sft=(--base "$out/long" --long "$out/records" --short "$chats" --mix long:short=0.2:0.8
    --loss long=all,short=answer --seq-len 32768 --gradient-checkpointing --out "$out/chat")
finetune mix "${sft[@]}"
torchrun --nproc-per-node "$gpus" -m finetune sft "${sft[@]}" --fsdp full_shard

# Held-out questions before and after tuning; Sec. 3.2, 5.1: ZeroSCROLLS, L-Eval, safety, beside the short chat model.
# The ablation of Sec. 4.3 is recipes/table9.sh.
for model in long chat; do
    evaluate qa --model "$out/$model" --records "$out/questions" --out "$results/$model/qa"
done
evaluate compare "$results/long/qa" "$results/chat/qa" --out "$out/tuned"
chat_tasks=(--suite zeroscrolls,l-eval,safety --style chat --data-dir "$task_data")
evaluate harness --model "$baseline" --hub "${chat_tasks[@]}" --out "$results/baseline/harness"
evaluate harness --model "$out/chat" "${chat_tasks[@]}" --out "$results/chat/harness"
evaluate compare "$results/baseline" "$results/chat" --out "$out/chats"

# Sec. 5.2: instructions hidden in long text; --prompts puts adversarial prompts of your own behind it.
evaluate red-team --model "$out/chat" --docs "$held_out" --lengths 4096,16384,32768 --out "$results/chat/red-team"
