#!/bin/sh
# The shared library exports moiety_* and nothing else, all that moiety.h declares, and has its soname.
set -eu
library=$1
header=$(dirname "$0")/../../src/moiety.h
exported=$(nm -D --defined-only "$library" | awk '{print $NF}' | sed 's/@.*//' | sort -u)
foreign=$(printf '%s\n' "$exported" | grep -v '^moiety_' || true)
[ -z "$foreign" ] || { echo "exported, and not moiety_*:"; echo "$foreign"; exit 1; }
declared=$(grep -oE 'MOIETY_API [^(]*\(' "$header" | grep -oE 'moiety_[a-z_]+\(' | tr -d '(' | sort -u)
[ "$(printf '%s\n' "$declared" | wc -l)" -gt 20 ] || { echo "no declarations found in $header"; exit 1; }
[ "$declared" = "$exported" ] || {
  echo "declared and exported differ:"
  echo "$declared" >"${TMPDIR:-/tmp}/declared.$$"; echo "$exported" | diff "${TMPDIR:-/tmp}/declared.$$" - || true
  rm -f "${TMPDIR:-/tmp}/declared.$$"
  exit 1
}
readelf -d "$library" | grep -q 'SONAME.*libmoiety\.so\.0\]' || { echo "no soname libmoiety.so.0"; exit 1; }
