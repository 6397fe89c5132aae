#!/usr/bin/env bash
# The four trained settings of the paper's Table 9; its first row is the chat model that nobody touched.
#   recipes/table9.sh LONG_MODEL RECORDS CHATS ROWS [OUT] [further options of finetune sft]
# Killed and started again, it goes on where it was.
set -euo pipefail
base=$1 records=$2 chats=$3 rows=$4 out=${5:-runs/table9}
shift $(($# < 5 ? $# : 5))
here=$(dirname "$0")/table9

finetune sft --config "$here/short.toml" --base "$base" --short "$chats" --out "$out/short" "$@"
finetune sft --config "$here/short-pretrain.toml" --base "$base" --short "$chats" --pretrain "$rows" --out "$out/short-pretrain" "$@"
for setting in self-instruct-answers self-instruct; do
    finetune sft --config "$here/$setting.toml" --base "$base" --long "$records" --short "$chats" --out "$out/$setting" "$@"
done
