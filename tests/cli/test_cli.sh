#!/bin/sh
# The commands as a user types them: test_cli.sh MOIETY GOLDEN ROOT
set -u
moiety=$1 golden=$2 root=$3
model=$golden/olmoe-f32
silent_failures=1
. "$(dirname "$0")/commands.sh"

exits 2
exits 2 fly
exits 2 run --no-such-flag
exits 2 run -m "$model" --tokens 1,x --ids
exits 2 run -m "$model" --tokens 1 -p a
exits 2 run -m "$model" --tokens 1 --ids -t many
exits 2 logits -m "$model" --tokens 1
exits 2 logits -o x.npy --tokens 1
exits 2 convert -m "$model"
exits 2 convert -m "$model" -o "$tmp/x.gguf" --shard-size 5Q
exits 1 convert -m "$model" -o "$tmp/x.gguf"
err_has 'only fairseq models are converted'
[ ! -e "$tmp/x.gguf" ] || bad "a refused conversion left a file"
exits 1 run -m "$tmp/checkpoint_last.pt" --tokens 1 --ids
err_has 'no such file, and no checkpoint_last-shared.pt beside it'
exits 2 run -m "$model" --tokens 1 --activations f64
exits 2 run -m "$model" --tokens 1 -ctk q4_0
for flags in '-t -1' '-t 4097' '-c -1' '-b 0' '-ub 0' '-n -2' '--temp -1' '--temp nan' '--top-k -2' '--top-p -1' '--min-p 2' '--repeat-last-n -2' '-s x'; do
  exits 2 run -m "$model" --tokens 1 --ids $flags
  [ "$(wc -c <"$tmp/err")" -lt 200 ] || bad "a long message: $flags"
done
exits 0 --version
out_has '^moiety 0'
exits 0 --help
# An answer that can't be written is a failure, whoever prints it.
for command in --version --help "inspect -m $model" "explain -m $model" "run -m $model --tokens 1 --ids -n 4" "diff -m $model --tokens 1 --right reference" \
  "bench -m $model -p 4 -n 0 -r 1"; do
  "$moiety" $command >/dev/full 2>"$tmp/err" && bad "a full output: $command"
  err_has "error: .*write to"
done
for command in run chat logits tokenize bench inspect explain diff convert pack; do
  exits 0 "$command" --help
  out_has --model
done
for command in run chat logits bench explain diff; do
  "$moiety" "$command" --help >"$tmp/out"
  for flag in -t, -c, -b, --ub, --ctk, --ctv, --activations --ram --no-tune --gate --gate-stats; do out_has "$flag"; done
done

# Gates: words, models that have no capacities, and dense ones that take no notice.
for gate in drop frac= frac=0 frac=-1 frac=nan frac=0.5x; do exits 2 run -m "$model" --tokens 1 --ids --gate "$gate"; done
exits 2 run -m "$model" --tokens 1 --ids --gate-second some
exits 1 run -m "$model" --tokens 1,2 --ids -n 1 --gate train
err_has nodrop
exits 0 run -m "$model" --tokens 1,2 --ids -n 1 --gate nodrop --gate-stats
err_has 'overflow_expert1 0.000'
exits 0 run -m "$golden/llama-f32" --tokens 1,2 --ids -n 1 --gate frac=0.05 --gate-stats
err_has 'gates: none ran'

# Tuning: measured once and kept where the cache is, by --no-tune not at all; broken files are said and replaced.
rm -rf "$tmp/cache"
exits 0 explain -m "$golden/olmoe-q4_0" --no-tune
[ ! -e "$tmp/cache" ] || bad "--no-tune left a file"
if MOIETY_BACKENDS=simd,reference "$moiety" explain -m "$model" --no-tune >/dev/null 2>&1; then
  out_has 'simd, q4_0 x .* rows of a group or more run as a GEMM, fewer as GEMVs (not measured)'
  exits 0 explain -m "$golden/olmoe-q4_0"
  out_has 'simd, q4_0 x .* (measured)'
  grep -q 'q4_0 x' "$tmp/cache/moiety/tune.json" || bad "nothing was kept"
  sed -i 's/\(q4_0 x [a-z0-9]*": \)[0-9]*/\1777/' "$tmp/cache/moiety/tune.json"
  exits 0 explain -m "$golden/olmoe-q4_0"
  out_has ': 777 rows of a group .* (measured)'
  exits 0 diff -m "$golden/olmoe-q4_0" --tokens 1,2,3,4 --activations f32
  echo broken >"$tmp/cache/moiety/tune.json"
  exits 0 run -m "$golden/olmoe-q4_0" --tokens 1 --ids -n 1
  err_has 'warning: .*tune.json: ignored'
  exits 0 run -m "$golden/olmoe-q4_0" --tokens 1 --ids -n 1
  grep -q ignored "$tmp/err" && bad "a broken file was not replaced"
  XDG_CACHE_HOME=cache HOME=$tmp/home "$moiety" run -m "$golden/olmoe-q4_0" --tokens 1 --ids -n 1 >"$tmp/out" 2>"$tmp/err" || bad "a relative XDG_CACHE_HOME"
  [ -s "$tmp/home/.cache/moiety/tune.json" ] || bad "nothing in ~/.cache"
  XDG_CACHE_HOME=/dev/null "$moiety" run -m "$golden/olmoe-q4_0" --tokens 1 --ids -n 1 >"$tmp/out" 2>"$tmp/err" || bad "a cache that can't be written"
fi

# A memory budget: sizes, one that is too small, one for two models, and the same tokens where it holds.
for ram in x 0 -1 5Q 1e30T ''; do exits 2 run -m "$model" --tokens 1 --ids --ram "$ram"; done
exits 1 run -m "$model" --tokens 1 --ids --ram 1.5M
err_has 'a memory budget of 1 MiB is too small, [0-9]* MiB is the least'
exits 2 diff -m "$model" --tokens 1 --right reference --ram 1G
exits 0 run -m "$model" --tokens 1,2,3 --ids -n 8 --temp 0
cp "$tmp/out" "$tmp/free"
exits 0 run -m "$model" --tokens 1,2,3 --ids -n 8 --temp 0 --ram 4G
cmp -s "$tmp/out" "$tmp/free" || bad "other tokens under a budget"
err_has 'budget: 4096.0 MiB'
err_has 'Experts: .* uses were in memory'

exits 1 run -m "$tmp/none" --tokens 1 --ids
err_has "$tmp/none"
printf 'GGUF\003\000\000\000' >"$tmp/short.gguf"
exits 1 run -m "$tmp/short.gguf" --tokens 1 --ids
err_has short.gguf
exits 1 run -m "$model" --tokens 1,999999 --ids
err_has 999999
for id in -1 2147483647; do exits 1 run -m "$model" --tokens "1,$id" --ids; done
for id in 2147483648 99999999999999999999; do exits 2 run -m "$model" --tokens "1,$id" --ids; done
exits 1 run -m "$model" -p hello   # these models have no tokenizer
exits 1 tokenize -m "$model" -f "$tmp/none" --json
exits 1 logits -m "$model" --tokens 1 -o "$tmp/none/x.npy"
err_has x.npy

run_ids() { exits 0 run -m "$model" --tokens 1,2,3 --ids --ignore-eos -n 16 --temp 0 "$@"; }
run_ids
[ "$(wc -l <"$tmp/out")" = 1 ] && [ "$(wc -w <"$tmp/out")" = 16 ] || bad "expected 16 ids on one line"
err_has 'threads:'
err_has '\[ Prompt: [0-9.]* t/s | Generation: [0-9.]* t/s \]'
cp "$tmp/out" "$tmp/ids"
for flags in "-t 1" "-t 2" "-ub 1" "-ub 2 -b 2" "-c 32" "-s 7"; do
  run_ids $flags
  cmp -s "$tmp/out" "$tmp/ids" || bad "other ids with $flags"
done
exits 0 run -m "$model" --tokens 1,2,3 --ids --ignore-eos -n 16 --temp 1.5 -s 5
cp "$tmp/out" "$tmp/seed5"
exits 0 run -m "$model" --tokens 1,2,3 --ids --ignore-eos -n 16 --temp 1.5 -s 5
cmp -s "$tmp/out" "$tmp/seed5" || bad "same seed, other ids"
exits 0 run -m "$model" --tokens 1,2,3 --ids --ignore-eos -n 16 --temp 1.5 -s 6
cmp -s "$tmp/out" "$tmp/seed5" && bad "another seed, same ids"
exits 0 run -m "$model" --tokens 1,2,3 --ids --ignore-eos -c 8
[ "$(wc -w <"$tmp/out")" = 6 ] || bad "a context of 8 holds 3 and 5 tokens, and one more is drawn"
err_has 'context of 8'
exits 1 run -m "$model" --tokens 1,2,3,4,5 --ids -c 4

MOIETY_BACKENDS=reference "$moiety" run -m "$model" --tokens 1,2,3 --ids --ignore-eos -n 4 --temp 0 >"$tmp/out" 2>"$tmp/err" || bad "reference"
err_has 'backends: reference'
MOIETY_BACKENDS=abacus "$moiety" run -m "$model" --tokens 1 --ids >"$tmp/out" 2>"$tmp/err" && bad "an unknown backend was taken"
err_has abacus
MOIETY_SIMD=mmx "$moiety" run -m "$model" --tokens 1 --ids >"$tmp/out" 2>"$tmp/err" && bad "an unknown SIMD target was taken"
err_has mmx

exits 0 logits -m "$model" --tokens 1,2,3 -o "$tmp/l.npy" --activations f32
head -c 6 "$tmp/l.npy" | od -An -c | grep -q '223   N   U   M   P   Y' || bad "no .npy"
vocab=$(head -c 128 "$tmp/l.npy" | tr -d '\0' | grep -ao "'shape': (3, [0-9]*)" | grep -o '[0-9]*)' | tr -d ')')
[ "$(($(wc -c <"$tmp/l.npy") - 3 * ${vocab:-0} * 4))" = 128 ] || bad "size of the .npy (vocab $vocab)"

# An output is there as a whole or not at all, and never one of the model's own files.
cp -r "$model" "$tmp/own"
ln "$tmp/own/config.json" "$tmp/hard.npy"
ln -s own/model.safetensors "$tmp/soft.npy"
for out in own/model.safetensors own/../own/config.json hard.npy soft.npy; do
  exits 1 logits -m "$tmp/own" --tokens 1,2 -o "$tmp/$out"
  err_has 'is a file of the model'
done
diff -r "$model" "$tmp/own" >/dev/null || bad "an output over the model"
echo old >"$tmp/old.npy"
(ulimit -f 1; "$moiety" logits -m "$model" --tokens "$(seq -s, 1 60)" -o "$tmp/old.npy" >"$tmp/out" 2>"$tmp/err") && bad "a full disk"
[ "$(cat "$tmp/old.npy")" = old ] || bad "a part of an output"

# A prompt kept in a file: the same ids, and only what is new is run. What is no such file is neither read nor replaced.
for tokens in 1,2,3 1,2,3 1,2,3,4,5 1,2,9; do
  exits 0 run -m "$model" --tokens $tokens --ids --ignore-eos -n 8 --temp 0
  cp "$tmp/out" "$tmp/ids"
  exits 0 run -m "$model" --tokens $tokens --ids --ignore-eos -n 8 --temp 0 --prompt-cache "$tmp/prompt"
  cmp -s "$tmp/out" "$tmp/ids" || bad "other ids with a prompt cache ($tokens)"
done
exits 1 run -m "$golden/mixtral-f32" --tokens 1,2,3 --ids -n 1 --prompt-cache "$tmp/prompt"
err_has 'prompt @0x28: model hash is'
exits 1 run -m "$model" --tokens 1,2,3 --ids -n 1 -ctk f32 --prompt-cache "$tmp/prompt"
err_has 'bytes of a key is 2'
cp "$model/config.json" "$tmp/not.cache"
exits 1 run -m "$model" --tokens 1,2,3 --ids -n 1 --prompt-cache "$tmp/not.cache"
err_has 'not a saved session'
cmp -s "$model/config.json" "$tmp/not.cache" || bad "a file that is no prompt cache was replaced"

checkpoint=${MOIETY_FAIRSEQ_DATA:-$root/../shared/data/fairseq}/ckpt/c-moe-4ranks-f16/checkpoint_last
if [ -e "$checkpoint-shared.pt" ]; then  # gates with capacities see a prompt as a whole
  exits 2 run -m "$checkpoint.pt" --gate train --tokens 5,6,7 --ids -n 1 --prompt-cache "$tmp/gated"
  err_has 'computed as a whole'
  exits 0 run -m "$checkpoint.pt" --tokens 5,6,7 --ids -n 1 --prompt-cache "$tmp/gated"
fi

exits 0 inspect -m "$model" --json
out_has '"architecture": "olmoe"'
out_has '"bytes_by_class"'
for key in attention experts router head embedding norms total active_parameters flops_per_token; do out_has "\"$key\":"; done
exits 0 inspect -m "$model"
out_has '^  experts *parameters [0-9]* active [0-9]* '
exits 0 inspect --config "$model/config.json" "$golden/llama-f32/config.json" --train-tokens 1e12
out_has '^| olmoe-f32 | .* |$'
[ "$(wc -l <"$tmp/out")" = 4 ] || bad "expected a table of two rows"
exits 0 inspect --config "$model/config.json" --json
out_has '"train_zflops"'
exits 1 inspect --config "$model/config.json" "$golden/cases.json"
err_has cases.json
exits 2 inspect --config "$model/config.json" -m "$model"
exits 0 inspect -m "$model" --tensors
out_has 'embed_tokens'
exits 0 explain -m "$model"
out_has experts
out_has total
exits 0 bench -m "$model" -p 4 -n 2 -r 2 -t 1,2 -o jsonl
[ "$(wc -l <"$tmp/out")" = 4 ] || bad "expected four results"
for key in n_prompt n_gen n_threads avg_ts stddev_ts bytes_per_token flops_per_token logits_hash; do out_has "\"$key\""; done
exits 0 bench -m "$model" -p 4 -n 0 -r 1 -t 1
out_has '| *pp4 |'
exits 0 diff -m "$model" --tokens 1,2,3,4 --activations f32 --right reference
out_has 'no node beyond'
if MOIETY_BACKENDS=simd,reference "$moiety" explain -m "$model" >/dev/null 2>&1; then
  exits 0 diff -m "$model" --tokens 1,2,3,4 --activations f32
  out_has 'no node beyond'
else
  echo "no simd backend in this build: not compared"
fi

# A model with text: the same weights and a tokenizer of single characters (byte-level: a space is Ġ, a line end Ċ).
text=$tmp/text
mkdir "$text"
cp "$model"/* "$text"
awk 'BEGIN {
  printf "{\"version\": \"1.0\", \"added_tokens\": ["
  split("<|im_start|> <|im_end|> <|endoftext|>", special, " ")
  for (i = 1; i <= 3; i++) printf "%s{\"id\": %d, \"content\": \"%s\", \"special\": true, \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false}", (i > 1 ? ", " : ""), 95 + i, special[i]
  printf "], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true},"
  printf " \"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\"},"
  printf " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"fuse_unk\": false, \"byte_fallback\": false, \"merges\": [], \"vocab\": {"
  for (i = 0; i < 94; i++) {
    c = sprintf("%c", 33 + i)
    if (c == "\"" || c == "\\") c = "\\" c
    printf "\"%s\": %d, ", c, i
  }
  printf "\"\\u0120\": 94, \"\\u010a\": 95}}}\n"
}' >"$text/tokenizer.json"
template() { printf '{"eos_token": "<|im_end|>", "chat_template": "%s"}' "$1" >"$text/tokenizer_config.json"; }
template "{% for m in messages %}<|im_start|>{{ m.role }}{% endfor %}"

exits 0 tokenize -m "$text" -p 'Hi <|im_end|>' --json
[ "$(cat "$tmp/out")" = "[39, 72, 94, 27, 91, 72, 76, 62, 68, 77, 67, 91, 29]" ] || bad "ids of plain text"
exits 0 tokenize -m "$text" -p 'Hi <|im_end|>' --parse-special
[ "$(cat "$tmp/out")" = "39 72 94 97" ] || bad "ids with control tokens"
printf 'a\n' >"$tmp/a.txt"
exits 0 tokenize -m "$text" -f "$tmp/a.txt" --json
[ "$(cat "$tmp/out")" = "[64, 95]" ] || bad "every byte of a file"
mkdir "$tmp/only" && cp "$text/tokenizer.json" "$tmp/only"
exits 0 tokenize -m "$tmp/only" -p a --json
[ "$(cat "$tmp/out")" = "[64]" ] || bad "a folder with tokenizer.json alone"

# A random model also draws ids that the tokenizer has no text for; greedy on this prompt must only not fail.
exits 0 run -m "$text" -p 'a b' -n 12 --temp 0 --ignore-eos
out_has '^a b'
"$moiety" run -m "$text" -n 2 --temp 0 --no-display-prompt <"$tmp/a.txt" >"$tmp/out" 2>"$tmp/err" || bad "a prompt from a pipe"
exits 1 run -m "$text" -f "$tmp/none"

chat() { printf '%s\n' "$@" | "$moiety" chat -m "$text" -n 4 --temp 0 -c 96 >"$tmp/out" 2>"$tmp/err"; }
chat 'hi' '/show' '/set temp 0.5' '/set temp x' '/fly' '"""one' 'two"""' '/clear' '/bye' 'never read' || bad "chat failed"
[ "$(grep -c 'Generation:' "$tmp/err")" = 2 ] || bad "expected two answers"
err_has 'unknown command /fly'
err_has 'is no value for it'
grep -q '>>>' "$tmp/out" && bad "a prompt in a pipe"
# The same question after /clear gets the same answer; without it the context grows.
chat 'hi' '/clear' 'hi' || bad "chat failed"
[ "$(sed -n 1p "$tmp/out")" = "$(sed -n 2p "$tmp/out")" ] || bad "/clear did not forget"
printf 'hi\n' | "$moiety" chat -m "$text" -n 4 -sys 'be brief' --temp 0 >"$tmp/out" 2>"$tmp/err" || bad "-sys"
# Templates that can't be rendered are refused by name, before anybody types; run still works.
template "{{ raise_exception('strange') }}"
exits 1 chat -m "$text"
err_has strange
exits 0 run -m "$text" -p a -n 1 --temp 0
exits 0 chat -m "$text" --chat-template chatml
exits 1 chat -m "$model"

if [ -d "$root/models/stories-12m" ]; then
  exits 0 run -p 'Once upon a time' -n 8 -s 1
  out_has '^Once upon a time'
  exits 0 tokenize -m "$root/models/stories-12m" -p 'Once upon a time' --json
  out_has '^\[[0-9, ]*\]$'
fi

[ "$failures" = 0 ] || { echo "$failures failures"; exit 1; }
