#!/bin/sh
# moiety pack as a user types it: test_pack.sh MOIETY GOLDEN ROOT
set -u
moiety=$1 golden=$2 root=$3
. "$(dirname "$0")/commands.sh"

exits 2 pack -m "$golden/olmoe-q4_0"
exits 2 pack -m "$golden/olmoe-q4_0" -o "$tmp/x" --shard-size 5Q
exits 2 pack -m "$golden/olmoe-q4_0" -o "$tmp/x" -t -1
exits 1 pack -m "$tmp/none" -o "$tmp/x"
[ ! -e "$tmp/x" ] || bad "a refused packing left a folder"
exits 0 pack --help
out_has --shard-size

# The same logits, to the bit, on every SIMD target that this CPU and this build have, for any number of threads.
logits() { MOIETY_SIMD=$1 "$moiety" logits -m "$2" --tokens "$3" -t "$4" -o "$5" >"$tmp/out" 2>"$tmp/err"; }
for model in "$golden/olmoe-q4_0" "$golden/olmoe-q4_k/model.gguf" "$root/models/stories-12m"; do
  rm -rf "$tmp/packed"
  exits 0 pack -m "$model" -o "$tmp/packed"
  err_has '^packed: '
  levels=0
  for level in scalar sse4 avx2 avx2_vnni avx512 avx512_vnni avx512_bf16 avx512_amx neon; do
    for tokens in 1 1,2,3,4,5,6,7,8,9; do
      logits $level "$model" $tokens 1 "$tmp/a.npy" || break
      levels=$((levels + 1))
      for threads in 1 3; do
        logits $level "$tmp/packed" $tokens $threads "$tmp/b.npy" || bad "$level: a packed $model"
        cmp -s "$tmp/a.npy" "$tmp/b.npy" || bad "other logits: $model, $level, $tokens, $threads threads"
      done
    done
  done
  [ $levels -ge 1 ] || bad "no level ran"
  exits 0 inspect -m "$tmp/packed" --verify --tensors
  out_has 'verified_bytes'
  out_has ' panels'
done

# The shipped model is packed by now: again, nothing is written; another source is refused, damage is found.
exits 0 pack -m "$root/models/stories-12m" -o "$tmp/packed"
err_has '1 of [0-9]* files were there already'
exits 1 pack -m "$golden/olmoe-q8_0" -o "$tmp/packed"
err_has 'a file of another model stands there'
exits 1 pack -m "$tmp/packed" -o "$tmp/again"
err_has 'packed already'
exits 1 inspect -m "$golden/olmoe-q8_0" --verify
err_has 'not packed'
exits 0 run -m "$tmp/packed/panels.gguf" -p 'Once upon a time' -n 8 --temp 0
cp "$tmp/out" "$tmp/text"
exits 0 run -m "$root/models/stories-12m" -p 'Once upon a time' -n 8 --temp 0
cmp -s "$tmp/out" "$tmp/text" || bad "another text from the packed model"
printf x | dd of="$tmp/packed/panels.gguf" bs=1 seek=1000000 conv=notrunc 2>"$tmp/err"
exits 1 inspect -m "$tmp/packed" --verify
err_has "panels.gguf @0x[0-9a-f]*: tensor '.*': its bytes are damaged"
cp -r "$root/models/stories-12m" "$tmp/own"
exits 1 pack -m "$tmp/own" -o "$tmp/own"
err_has 'is a file of the model'
diff -r "$root/models/stories-12m" "$tmp/own" >/dev/null || bad "an output over the model"

# Stopped by a full disk it leaves whole files, and goes on.
(ulimit -f 1000; "$moiety" pack -m "$root/models/stories-12m" -o "$tmp/parts" --shard-size 2M >"$tmp/out" 2>"$tmp/err") && bad "a full disk"
exits 0 pack -m "$root/models/stories-12m" -o "$tmp/parts" --shard-size 2M
exits 0 inspect -m "$tmp/parts" --verify

[ "$failures" = 0 ] || { echo "$failures failures"; exit 1; }
