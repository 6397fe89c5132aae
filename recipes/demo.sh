#!/usr/bin/env bash
# The method of arXiv:2309.16039, whole and tiny: documents in, a long-context chat model and a report out.
#   recipes/demo.sh [OUT]
# Two CPU cores, some ten minutes. Llama 2 with its 4,096 tokens is a model of 0.5M parameters with 64 here, and the
# paper's 32,768 tokens are 512, eight times as long. Every line is a command of yours: the same story at the paper's
# size is recipes/llama2-7b-32k.sh. Killed and started again, it goes on where it was.
set -euo pipefail
out=${1:-runs/demo} here=$(dirname "$0")
text=$out/text tokenizer=$text/tokenizer results=$out/results lengths=64,128,256,512
mkdir -p "$out/logs"

stage() { # TITLE COMMAND...: says what is under way and how long it took; the details go into a log
    local title=$1 start=$SECONDS log
    shift
    number=$((${number:-0} + 1)) log=$out/logs/$(printf %02d $number).log
    printf '%5s  %2d/%d  %s' "$((SECONDS / 60)):$(printf %02d $((SECONDS % 60)))" $number $stages "$title ..." >&2
    "$@" >"$log" 2>&1 || { printf ' failed\n' >&2; tail -n 3 "$log" >&2; echo "all of it: $log" >&2; exit 1; }
    printf ' %d s\n' $((SECONDS - start)) >&2
}
stages=$(grep -c '^ *stage "' "$0")
train() { # the processes of a training run: one a core
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m "$@"
}

# Documents: what every Python installation holds. Every tenth is held out of all that follows.
stage "documents" python -m recipes.corpus "$out/corpus"
stage "training text" python -m recipes.drills "$out/corpus/documents" --held-out "$out/corpus/held-out" \
    --rows 64=3.6M --rows 512=2.3M --chats 20000 --out "$text"

# The base model, in place of Llama 2: trained from nothing on rows of 64 tokens.
stage "rows of 64 tokens" pretrain prepare --source "drills=$text/64.jsonl" --tokenizer "$tokenizer" --seq-len 64 \
    --out "$out/rows-64"
stage "base model, 64 tokens (the longest stage)" train pretrain scratch --config "$here/demo/model.json" \
    --data "$out/rows-64" --steps 1700 --batch-tokens 2048 --micro-batch 16 --learning-rate 5e-3 --warmup-steps 100 \
    --out "$out/base"

# Sec. 2.1: continual pretraining on longer rows, the RoPE base 50 times as large (ABF): 156.25 becomes 7,812.5.
stage "rows of 512 tokens" pretrain prepare --source "drills=$text/512.jsonl" --tokenizer "$tokenizer" --seq-len 512 \
    --out "$out/rows-512"
stage "continual pretraining, 512 tokens" train pretrain continue --base "$out/base" --data "$out/rows-512" \
    --rope abf:7812.5 --steps 550 --batch-tokens 4096 --micro-batch 4 --learning-rate 3e-3 --warmup-steps 20 \
    --out "$out/long"

# Sec. 2.2: questions and answers from parts of documents. No chat model here: the built-in engine takes them from the
# text by rule, as sentences with a gap. The same of held-out documents, to ask later.
generate() { # DOCUMENTS RUN
    selfinstruct generate --engine extractive --docs "$1" --tasks short_answer --chunks-per-doc all \
        --tokenizer "$tokenizer" --chunk-tokens 128 --question-tokens 128 --context-tokens 512 \
        --prompts "$here/demo/prompts" --out "$2"
}
stage "records" generate "$out/corpus/documents" "$out/records"
stage "held-out questions" generate "$out/corpus/held-out" "$out/questions"

# Sec. 2.2: the loss on the whole of a record and on answers of short chats; the shares are ours.
sft=(--base "$out/long" --long "$out/records" --short "$text/chats.jsonl" --mix long:short=0.5:0.5
    --loss long=all,short=answer --seq-len 512 --steps 350 --batch-tokens 4096 --learning-rate 3e-3 --warmup-steps 20)
stage "finetuning on long records and short chats" train finetune sft "${sft[@]}" --out "$out/chat"

# Sec. 3 and 4.1: loss by length, retrieval, held-out questions; before, after pretraining and after finetuning.
measure() { # MODEL; joined by &&, since a stage that may fail turns off set -e. Retrieval is asked of bases, as text.
    evaluate loss --model "$out/$1" --docs "$out/corpus/held-out" --join --lengths 16,32,$lengths --targets 8 \
        --samples 100 --out "$results/$1/loss" &&
    { [[ $1 == chat ]] || evaluate retrieval --model "$out/$1" --docs "$text/passages.jsonl" --past-window \
        --task first-sentence,passkey --lengths $lengths --samples 10 --out "$results/$1/retrieval"; } &&
    evaluate qa --model "$out/$1" --records "$out/questions" --samples 200 --no-closed-book --max-tokens 32 \
        --past-window --out "$results/$1/qa"
}
stage "measure the base" measure base
stage "measure the long model" measure long
stage "measure the chat model" measure chat
stage "compare" evaluate compare "$results/base" "$results/long" "$results/chat" --names base,long,chat \
    --out "$out/compared"
stage "report" python -m recipes.demo.report "$out"
echo "the report: $out/report.html"
