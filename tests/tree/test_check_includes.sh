#!/bin/sh
# The check itself must be able to fail: each planted line is found.
set -eu
check=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
plant() {  # FILE LINE
  rm -rf "$tmp/tree"
  for folder in src/core src/models src/backends simd formats tools/cli bench; do mkdir -p "$tmp/tree/$folder"; done
  [ -z "$1" ] || printf '%s\n' "$2" >"$tmp/tree/$1"
}
plant "" ""
sh "$check" "$tmp/tree" || { echo "a clean tree was refused"; exit 1; }
while read -r file line; do
  plant "$file" "$line"
  if sh "$check" "$tmp/tree" >/dev/null; then echo "not found: $file: $line"; exit 1; fi
done <<'LINES'
src/core/a.h #include "graph/graph.h"
src/models/a.cpp #include "backends/list.h"
src/models/b.cpp #include <Eigen/Dense>
src/backends/a.cpp #include "simd/backend.h"
simd/a.cpp #include "runtime/model.h"
formats/a.cpp #include "text/tokenizer.h"
formats/b.cpp std::cout << 1;
tools/cli/run.cpp #include "runtime/model.h"
src/core/b.cpp const char* x = getenv("X");
src/core/c.cpp std::abort();
LINES
