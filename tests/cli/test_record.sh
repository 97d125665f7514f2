#!/bin/sh
# bench --record and what reads such records: test_record.sh MOIETY GOLDEN ROOT
set -u
moiety=$1 golden=$2 root=$3
model=$golden/olmoe-f32
. "$(dirname "$0")/commands.sh"

# A record grows; what was there stays, a line that was cut does not spoil the next, and other files are left alone.
exits 0 bench -m "$model" -p 4 -n 2 -r 1 -t 1 --record "$tmp/record.jsonl"
out_has '| *tg2 |'
[ "$(grep -c '^{.*}$' "$tmp/record.jsonl")" = 2 ] || bad "expected two lines in the record"
for key in date version cpu n_threads avg_ts bandwidth_share peak_share logits_hash; do
  [ "$(grep -c "\"$key\":" "$tmp/record.jsonl")" = 2 ] || bad "the record lacks $key"
done
printf '{"cut' >>"$tmp/record.jsonl"
cp "$tmp/record.jsonl" "$tmp/before.jsonl"
exits 0 bench -m "$model" -p 4 -n 0 -r 1 -t 1 --record "$tmp/record.jsonl"
head -c "$(wc -c <"$tmp/before.jsonl")" "$tmp/record.jsonl" | cmp -s - "$tmp/before.jsonl" || bad "the record's beginning changed"
[ "$(wc -l <"$tmp/record.jsonl")" = 4 ] && tail -n 1 "$tmp/record.jsonl" | grep -q '^{"date".*}$' || bad "no line of its own after a cut one"
echo words >"$tmp/words.txt"
exits 1 bench -m "$model" -p 4 -n 0 -r 1 -t 1 --record "$tmp/words.txt"
err_has 'words.txt: is no file of JSON lines'
[ "$(cat "$tmp/words.txt")" = words ] || bad "a text was appended to"
exits 1 bench -m "$model" -p 4 -n 0 -r 1 -t 1 --record "$model/config.json"
err_has 'a file of the model'
exits 1 bench -m "$model" -p 4 -n 0 -r 1 -t 1 --record "$tmp/none/record.jsonl"
err_has 'none/record.jsonl'

# script CODE NAME ARGUMENTS...: a script of bench/.
script() {
  wanted=$1 name=$2
  shift 2
  python3 -B "$root/bench/$name" "$@" >"$tmp/out" 2>"$tmp/err"
  got=$?
  [ "$got" = "$wanted" ] || bad "exit code $got, expected $wanted: $name $*"
}
record=$tmp/record.jsonl
script 0 compare.py "$record" "$record" --fail-below 1
out_has '| pp4 | 1 |.*| 1.000 |.*| 1.000 | same |'
err_has 'record.jsonl:3: left out'
# Half as fast, by other logits; in one of the two tests.
grep '"n_gen":2,' "$record" | sed 's/"avg_ts":[0-9.e+]*/"avg_ts":1/; s/"logits_hash":"[0-9a-f]*/&0/' >"$tmp/slow.jsonl"
script 0 compare.py "$record" "$tmp/slow.jsonl" --fail-below 1 --by share
out_has '| tg2 | 1 |.*| 1.00 |.*| differ |'
err_has 'only in .*record.jsonl: .*pp4'
script 1 compare.py "$record" "$tmp/slow.jsonl" --fail-below 0.95
err_has 'below 0.95: .*tg2'
grep '"n_gen":0,' "$record" >"$tmp/prompt.jsonl"
script 2 compare.py "$tmp/prompt.jsonl" "$tmp/slow.jsonl"
err_has 'share no test'
echo '{"avg_ts":"fast"}' >"$tmp/wrong.jsonl"
script 2 compare.py "$record" "$tmp/wrong.jsonl"
err_has 'wrong.jsonl:1: .*avg_ts'
script 2 compare.py "$record" "$tmp/none.jsonl"
script 0 picture.py "$record" -o "$tmp/speed.svg"
python3 -c 'import sys, xml.dom.minidom as m; t = m.parse(sys.argv[1]).getElementsByTagName("text"); sys.exit(not any("pp4, 1 thread" == x.firstChild.data for x in t))' \
  "$tmp/speed.svg" || bad "the picture lacks a test"
script 2 picture.py "$tmp/wrong.jsonl" -o "$tmp/other.svg"
[ ! -e "$tmp/other.svg" ] || bad "a picture of a bad record"

[ "$failures" = 0 ]
