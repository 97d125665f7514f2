#!/bin/sh
# A file system of 8 MiB that gets full under every writer: full_disk.sh WRITERS MOIETY MODEL ROOT. What stood there stays,
# and no part of a new file. It is mounted in a namespace of its own, so that nobody has to be root.
set -u
if [ "$1" != inside ]; then
  for how in -rm -m; do
    unshare $how true 2>/dev/null && exec unshare $how sh "$0" inside "$@"
  done
  echo "SKIP: no namespace to mount a file system in"
  exit 77
fi
shift
writers=$1 moiety=$2 model=$3 root=$4
disk=$(mktemp -d)
trap 'umount "$disk" 2>/dev/null; rmdir "$disk"' EXIT
mount -t tmpfs -o size=8m none "$disk" || { echo "SKIP: a tmpfs can't be mounted here"; exit 77; }
failures=0
bad() { echo "FAIL: $*"; failures=$((failures + 1)); }

echo old >"$disk/old.npy"
"$writers" "$disk" || bad "writers"
# Not a byte is left: the command fails, says where, and the old file stays. (As this is a real full disk, so does `cat`.)
cat /dev/zero >"$disk/fill" 2>/dev/null && bad "the disk did not get full"
"$moiety" logits -m "$model" --tokens "$(seq -s, 1 60)" -o "$disk/old.npy" >"$disk.out" 2>&1
code=$?
[ $code = 1 ] && grep -q 'old.npy.*No space left' "$disk.out" || { bad "logits: exit code $code"; cat "$disk.out"; }
"$moiety" run -m "$model" --tokens 1,2,3 --ids -n 1 --prompt-cache "$disk/session" >"$disk.out" 2>&1 && bad "a session on a full disk"
grep -q 'session.*No space left' "$disk.out" || { bad "session"; cat "$disk.out"; }
checkpoint=${MOIETY_FAIRSEQ_DATA:-$root/../shared/data/fairseq}/ckpt/d-dense-f32/checkpoint_last.pt
if [ -e "$checkpoint" ]; then
  for out in converted.gguf converted; do
    "$moiety" convert -m "$checkpoint" -o "$disk/$out" >"$disk.out" 2>&1 && bad "convert to $out on a full disk"
    grep -q 'error: .*No space left' "$disk.out" || { bad "convert to $out"; cat "$disk.out"; }
  done
  rmdir "$disk/converted" 2>/dev/null  # the folder may stand, but nothing in it
else
  echo "no $checkpoint: convert was not tried"
fi
rm -f "$disk.out"
[ "$(cat "$disk/old.npy")" = old ] || bad "the old file changed"
left=$(find "$disk" -mindepth 1 | sort | tr '\n' ' ')
[ "$left" = "$disk/fill $disk/old.npy " ] || bad "left behind: $left"
rm "$disk/fill"
# With room again the same command succeeds.
"$moiety" logits -m "$model" --tokens 1,2 -o "$disk/old.npy" 2>/dev/null && [ "$(wc -c <"$disk/old.npy")" -gt 100 ] || bad "room again"
exit $((failures > 0))
