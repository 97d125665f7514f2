#!/bin/sh
# moiety eval as a user types it: test_eval.sh MOIETY ROOT. Runs on the model that ships.
set -u
moiety=$1 root=$(cd "$2" && pwd)
model=$root/models/stories-12m
[ -d "$model" ] || { echo "SKIP: no $model"; exit 77; }
silent_failures=1
. "$(dirname "$0")/commands.sh"

exits 0 eval --help
exits 2 eval
exits 2 eval fly
for part in ppl choices kl compare; do
  exits 0 eval $part --help
  for flag in --model -t, -c, --activations --gate --gate-stats; do out_has "$flag"; done
  exits 2 eval $part --no-such-flag
done

mkdir "$tmp/texts"
printf 'Once upon a time, there was a young boy named Kurt. His boots were always muddy.\n' >"$tmp/texts/a.txt"
printf 'Question: 3 + 4 = ?\nAnswer: 7\n\nQuestion: 9 + 9 = ?\nAnswer: 18\n' >"$tmp/texts/b.txt"

exits 2 eval ppl -m "$model"
exits 1 eval ppl -m "$model" "$tmp/none.txt"
err_has none.txt
exits 1 eval ppl -m "$tmp/none" "$tmp/texts"
exits 1 eval ppl -m "$model" "$tmp/texts" --block 100000
err_has 'block is 100000'
exits 1 eval ppl -m "$model" "$tmp/texts" --block 8 --stride 9
err_has 'stride is 9'
: >"$tmp/empty.txt"
exits 1 eval ppl -m "$model" "$tmp/empty.txt"
err_has empty.txt
exits 1 eval ppl -m "$root/tests/golden/olmoe-f32" "$tmp/texts"
err_has tokenizer

exits 0 eval ppl "$tmp/texts" sums="$tmp/texts/b.txt"   # the model that ships
out_has '| a.txt '
out_has '| sums '
out_has 'all 3 together'
exits 0 eval ppl -m "$model" --in "$tmp/texts/a.txt" --out "$tmp/texts/b.txt" --json
for key in name set tokens bytes nats loss_base2 bits_per_byte perplexity; do out_has "\"$key\":"; done
[ "$(grep -c '"name"' "$tmp/out")" = 2 ] || bad "expected two objects"

# Stopped and resumed: the same answer; another run's file is refused.
exits 0 eval ppl -m "$model" "$tmp/texts" --block 8 --json
cp "$tmp/out" "$tmp/whole"
exits 0 eval ppl -m "$model" "$tmp/texts" --block 8 --json --resume "$tmp/journal"
cmp -s "$tmp/out" "$tmp/whole" || bad "other figures with --resume"
lines=$(wc -l <"$tmp/journal")
[ "$lines" -gt 4 ] || bad "a journal of $lines lines"
size=$(wc -c <"$tmp/journal")
head -c $((size / 2)) "$tmp/journal" >"$tmp/half"
exits 0 eval ppl -m "$model" "$tmp/texts" --block 8 --json --resume "$tmp/half"
cmp -s "$tmp/out" "$tmp/whole" || bad "other figures after going on"
cmp -s "$tmp/half" "$tmp/journal" || bad "another journal after going on"
exits 1 eval ppl -m "$model" "$tmp/texts" --block 9 --resume "$tmp/journal"
err_has 'another run'
exits 1 eval ppl -m "$model" "$tmp/texts" --resume "$tmp/texts/a.txt"
err_has 'not a file of --resume'

items=$root/tests/eval/choices
exits 2 eval choices chess "$items/copa.jsonl"
exits 1 eval choices copa "$tmp/none"
exits 1 eval choices copa "$items/arc.jsonl"
err_has 'arc.jsonl: line 1: premise is missing'
exits 1 eval choices piqa "$items/piqa.jsonl"
exits 1 eval choices copa "$items/copa.jsonl" -k 3
err_has '3 examples of 2'
exits 1 eval choices copa "$items/copa.jsonl" --score suffix
err_has 'no shared suffix'
exits 0 eval choices winogrande "$items/winogrande.jsonl" --gate-stats
err_has 'overflow_expert1 0.000'
for scoring in sum mean unconditional suffix; do out_has "| winogrande | 2 | 0 | 1 | $scoring | [0-9.]* ± 0.00 % |"; done
exits 0 eval choices piqa "$items/piqa.jsonl" --labels "$items/piqa-labels.lst" --score sum,mean --json
out_has '"accuracy"'
exits 0 eval choices copa "$items/copa.jsonl" -k 1 --draws 3 -s 5 --json --items "$tmp/items" --resume "$tmp/choices"
cp "$tmp/out" "$tmp/whole"
[ "$(wc -l <"$tmp/items")" = 9 ] || bad "three draws of three items"
size=$(wc -c <"$tmp/choices")
head -c $((size / 2)) "$tmp/choices" >"$tmp/half"
exits 0 eval choices copa "$items/copa.jsonl" -k 1 --draws 3 -s 5 --json --resume "$tmp/half"
cmp -s "$tmp/out" "$tmp/whole" || bad "other accuracies after going on"
exits 1 eval choices copa "$items/copa.jsonl" -k 1 --draws 3 -s 6 --resume "$tmp/half"
err_has 'another run'

"$moiety" logits -m "$model" --tokens 5,6,7 -o "$tmp/l.npy" 2>/dev/null
exits 0 eval kl -m "$model" --tokens 5,6,7 --logits "$tmp/l.npy" --json --gate-stats
err_has 'overflow_expert1 0.000'
out_has '"mean_kl": 0.0'
exits 0 eval kl -m "$model" --tokens 5,6,8 --logits "$tmp/l.npy"
grep -q 'mean KL 0.000e+00' "$tmp/out" && bad "other tokens, no distance"
exits 1 eval kl -m "$model" --tokens 5,6 --logits "$tmp/l.npy"
err_has 'l.npy: shape'

printf '[{"name": "d", "family": "dense", "cost": 20, "quality": 12.5}, {"name": "m", "family": "moe", "cost": 5, "quality": 12.5}]' >"$tmp/points.json"
exits 0 eval compare "$tmp/points.json" --csv "$tmp/points.csv" --svg "$tmp/points.svg"
out_has '| m | moe |  | 5 | 12.5000 | 4.00 |'
grep -q '^m,moe,,,,,5,quality,,,,12.5,4.0000$' "$tmp/points.csv" || bad "no CSV"
grep -q '</svg>' "$tmp/points.svg" || bad "no plot"
printf '[{"name": "x", "config": "%s", "ppl": "whole"}]' "$root/tests/eval/paper/moe_15b.json" >"$tmp/points.json"
"$moiety" eval ppl "$tmp/texts" --json >"$tmp/whole" 2>/dev/null
exits 0 eval compare "$tmp/points.json"
out_has '| x | moe | 14605.7 | 155.1 | 385.6 | 0.4315 | [0-9.]* |  |'
for broken in '[]' '{' '[{"name": "x"}]' '[{"name": "x", "cost": 1, "quality": 1}]' '[{"name": "x", "cost": "y", "family": "moe", "quality": 1}]' '[3]'; do
  printf '%s' "$broken" >"$tmp/points.json"
  exits 1 eval compare "$tmp/points.json"
  err_has points.json
done

# Results that are there: costs from configurations alone. Between 10 and 20 the dense curve is log-linear.
paper=$root/tests/eval/paper
result() {  # NAME PERPLEXITY TEXTS-BYTES
  awk -v p="$2" -v b="$3" 'BEGIN { printf "[{\"name\": \"t\", \"set\": \"in\", \"tokens\": 100, \"bytes\": %d, \"nats\": %.17g}]", b, 100 * log(p) }' >"$tmp/$1.json"
}
result small 20 400
result large 10 400
result moe 12 400
result better 9 400
compare() {  # CODE ARGUMENTS...
  code=$1
  shift
  exits "$code" eval compare -m "$paper/dense_125m.json" -m large="$paper/dense_355m.json" -m moe="$paper/moe_15b.json" -m better="$paper/moe_52b.json" \
    --result dense_125m="$tmp/small.json" --result large="$tmp/large.json" --result moe="$tmp/moe.json" --result better="$tmp/better.json" "$@"
}
compare 0 --json --train-tokens 300e9,300e9,600e9,300e9 --svg="$tmp/compare.svg" --csv="$tmp/compare.csv"
"$moiety" inspect --config "$paper/dense_125m.json" "$paper/dense_355m.json" "$paper/moe_15b.json" "$paper/moe_52b.json" --json 2>/dev/null | grep train_zflops |
  awk '{ gsub(/[^0-9.e+-]/, "", $2); c[NR] = $2 } END { printf "%.5f\n%.5f\n", c[2] / exp(log(2 * c[3]) / 3 + 2 * log(c[4]) / 3), exp(0.2 * log(c[1]) + 0.8 * log(c[2])) / (2 * c[3]) }' >"$tmp/factor"
grep '"speed_up": [0-9]' "$tmp/out" | awk '{ printf "%.5f\n", $2 }' >"$tmp/ours"
cmp -s "$tmp/ours" "$tmp/factor" || bad "a speed-up of $(cat "$tmp/ours"), expected $(cat "$tmp/factor")"
[ "$(grep -c '"speed_up": null' "$tmp/out")" = 2 ] || bad "models outside the qualities of the other family have no speed-up"
grep -q '^better,moe,.*,in: perplexity,100,.*,9,outside$' "$tmp/compare.csv" || bad "the CSV says not that it is outside"
grep -q '</svg>' "$tmp/compare.svg" || bad "no plot"
compare 0 --train-tokens moe=600e9 --by bits
out_has '| model | family | parameters, M | active, M | MFLOP a token | training, ZFLOP | in: loss (base 2) | in: bits a byte | in: speed-up |'
out_has '| better | moe | .* | outside |'
for tokens in 1,2 x 0 none=1 moe=; do compare 2 --train-tokens $tokens; done
result moe 12 401
compare 1
err_has 'moe: the texts "in" have 401 bytes, those of dense_125m 400'
for broken in '{}' '[]' '[{"nats": 1}]' '[{"nats": 1, "tokens": 0, "bytes": 1}]' '[{"nats": 1, "tokens": 1e99, "bytes": 1}]' '[{"accuracy": 2.5}]' '[{"accuracy": "x", "task": "copa", "scoring": "sum"}]' '[7]' '[{"name": 1}]'; do
  printf '%s' "$broken" >"$tmp/moe.json"
  compare 1
  err_has moe.json
done
mkdir "$tmp/lone"
sed 's/"num_experts": 8/"num_experts": 1/; s/"num_experts_per_tok": 2/"num_experts_per_tok": 1/' "$root/tests/golden/olmoe-f32/config.json" >"$tmp/lone/config.json"
exits 0 eval compare -m "$tmp/lone/config.json" --result lone="$tmp/small.json"
out_has '| lone | dense |'
exits 2 eval compare -m "$paper/moe_15b.json" "$tmp/texts"
err_has 'a configuration can.t be run'
exits 2 eval compare -m "$model" -m "$model" "$tmp/texts"
err_has 'two models are called'
exits 2 eval compare -m "$model"
exits 2 eval compare "$tmp/texts/a.txt" "$tmp/texts/b.txt"
exits 2 eval compare -m "$model" --result other="$tmp/small.json"
exits 2 eval compare -m "$model" --choices chess="$items/copa.jsonl"
exits 1 eval compare -m "$model" --choices copa="$tmp/none"
exits 1 eval compare -m "$model" -m "$tmp/none" "$tmp/texts"
exits 1 eval compare -m "$model" "$tmp/texts" --svg "$model/config.json"
err_has 'is a file of the model'

# Models that are run: what eval ppl and eval choices say of each, stopped and resumed, one gone through already.
ln -s "$model" "$tmp/twin"
models="-m $model -m twin=$tmp/twin"
work="--in $tmp/texts/a.txt --out $tmp/texts/b.txt --block 8 --choices copa=$items/copa.jsonl --score sum"
exits 0 eval compare $models $work --json --resume "$tmp/compare"
cp "$tmp/out" "$tmp/whole"
for key in parameters active_parameters flops_per_token train_tokens train_zflops measure tokens loss_base2 bits_per_byte perplexity speed_up; do out_has "\"$key\":"; done
[ "$(grep -c '"name"' "$tmp/whole")" = 6 ] || bad "two models, three measures"
exits 0 eval ppl --in "$tmp/texts/a.txt" --out "$tmp/texts/b.txt" --block 8 --json
cp "$tmp/out" "$tmp/ppl.json"
[ "$(grep '"perplexity":' "$tmp/whole" | sort -u | tr -d ', \n')" = "$(grep '"perplexity":' "$tmp/ppl.json" | sort -u | tr -d ', \n')" ] || bad "other perplexities than eval ppl"
exits 0 eval choices copa "$items/copa.jsonl" --score sum --json
cp "$tmp/out" "$tmp/copa.json"
for done in 3 2; do  # cut in the second model, and in the first
  head -c $(($(wc -c <"$tmp/compare") / done * (done - 1))) "$tmp/compare" >"$tmp/half"
  exits 0 eval compare $models $work --json --resume "$tmp/half"
  cmp -s "$tmp/out" "$tmp/whole" || bad "another comparison after going on"
  cmp -s "$tmp/half" "$tmp/compare" || bad "another journal after going on"
done
exits 1 eval compare $models $work --keep-empty --resume "$tmp/compare"
err_has 'another run'
exits 1 eval compare $models $work --activations f32 --resume "$tmp/compare"
err_has 'another model stories-12m'
exits 0 eval compare $models --result stories-12m="$tmp/ppl.json" --result stories-12m="$tmp/copa.json" $work --json
cmp -s "$tmp/out" "$tmp/whole" || bad "another comparison with results from files"
exits 0 eval compare $models $work --gate-stats
err_has 'overflow_expert1 0.000'
out_has '| twin | moe | 13.1 | 5.0 | .* % |  |'
exits 1 eval compare $models $work --gate train
err_has nodrop

exits 0 trace --help
for flag in --resume --gate --gate-stats; do out_has "$flag"; done
exits 2 trace -m "$model"
exits 1 trace -m "$root/tests/golden/llama-f32" -p x
exits 1 trace -m "$model" -p x --svg "$model/config.json"
err_has 'is a file of the model'
exits 1 trace -m "$model" "$tmp/none"
exits 0 trace "$tmp/texts" --routes "$tmp/routes" --csv "$tmp/csv" --svg "$tmp/svg" --resident 0.001,1
out_has '^layers.5 '
out_has '| a.txt |'
out_has '| 1 | [0-9]* % | [0-9.]* % | [0-9.]* % | [0-9.]* % |'
[ "$(wc -l <"$tmp/csv")" = 97 ] || bad "expected six layers of eight experts for two texts, and a head"
grep -q '^<svg.*</svg>' "$tmp/svg" || tail -1 "$tmp/svg" | grep -q '</svg>' || bad "no picture"
tokens=$(($(wc -l <"$tmp/routes") - 1))
head -1 "$tmp/routes" | grep -q '"layers":' || bad "no head in the routes"
[ "$(tail -n +2 "$tmp/routes" | grep -c '"position":.*"experts":\[\[[0-7],[0-7]\],.*"weights":')" = "$tokens" ] || bad "routes of $tokens tokens"
# Stopped and resumed: the same report, picture, table and routes.
traced() { exits 0 trace "$tmp/texts" --block 16 --json --routes "$tmp/$1.routes" --csv "$tmp/$1.csv" --svg "$tmp/$1.svg" --resume "$tmp/$1.journal"; cp "$tmp/out" "$tmp/$1.out"; }
traced whole
size=$(wc -c <"$tmp/whole.journal")
for part in 4 2; do
  head -c $((size * (part - 1) / part)) "$tmp/whole.journal" >"$tmp/part.journal"
  traced part
  for kind in out routes csv svg journal; do cmp -s "$tmp/part.$kind" "$tmp/whole.$kind" || bad "another $kind after going on"; done
done
exits 0 trace "$tmp/texts" --block 16 --json
cmp -s "$tmp/out" "$tmp/whole.out" || bad "another report with --resume"
exits 1 trace "$tmp/texts" --block 15 --resume "$tmp/whole.journal"
err_has 'another run'
exits 1 trace "$tmp/texts" --block 16 --resume "$tmp/whole.journal"   # without routes there are no weights
exits 0 trace -p 'Once upon a time' --json --gate-stats
err_has 'overflow_expert1 0.000'
for key in count load_entropy together reuse_distance lru lfu belady; do out_has "\"$key\":"; done

[ "$failures" = 0 ] || { echo "$failures failures"; exit 1; }
