#!/bin/sh
# A level's objects are compiled for a newer CPU: a weak or global symbol outside the level's namespace could be merged
# with another file's and then run on a CPU that lacks the instructions. usage: symbols.sh LIBRARY...
set -eu
command -v nm > /dev/null || { echo "skipped: no nm"; exit 77; }
if nm "$1" | grep -qE '__(asan|tsan|ubsan)'; then echo "SKIP: a sanitizer adds symbols of its own"; exit 77; fi
failed=0
for library in "$@"; do
  level=$(basename "$library" .a)
  level=${level#libmoiety_simd_}
  [ "$level" = scalar ] && continue  # compiled for the baseline CPU
  # g++'s DW.ref is a pointer, no code.
  found=$(nm -C --defined-only "$library" | awk 'NF > 2 && $2 ~ /[A-Z]/' | grep -v -e "moiety::simd::$level::" -e ' DW\.ref\.' || true)
  if [ -n "$found" ]; then
    echo "$level defines symbols outside its namespace:"
    echo "$found"
    failed=1
  fi
done
exit $failed
