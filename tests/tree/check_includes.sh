#!/bin/sh
# Who may include whom: usage check_includes.sh ROOT. Each folder's files may include only what its line lists.
set -eu
cd "$1"
status=0

# layer PATH ALLOWED...: every #include "x/..." in PATH must begin with one of ALLOWED (or be a neighbour).
layer() {
  path=$1
  shift
  [ -d "$path" ] || return 0
  found=$(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"[^"]*/' "$path" --include='*.h' --include='*.cpp' --include='*.c' || true)
  [ -n "$found" ] || return 0
  bad=$(printf '%s\n' "$found" | while IFS= read -r line; do
    name=${line#*\"}
    name=${name%%\"*}
    ok=
    for allowed in "$@"; do
      case $name in "$allowed"/*) ok=1 ;; esac
    done
    [ -n "$ok" ] || printf '%s\n' "$line"
  done)
  if [ -n "$bad" ]; then
    printf '%s may include only: %s\n%s\n' "$path" "$*" "$bad"
    status=1
  fi
}

# private HEADER_PATTERN FOLDER...: <HEADER_PATTERN> may be included under these paths only.
private() {
  pattern=$1
  shift
  found=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*<$pattern" src simd formats tools bench --include='*.h' --include='*.cpp' || true)
  [ -n "$found" ] || return 0
  bad=$(printf '%s\n' "$found" | while IFS= read -r line; do
    ok=
    for allowed in "$@"; do
      case $line in "$allowed"*) ok=1 ;; esac
    done
    [ -n "$ok" ] || printf '%s\n' "$line"
  done)
  if [ -n "$bad" ]; then
    printf '<%s> may be included only in: %s\n%s\n' "$pattern" "$*" "$bad"
    status=1
  fi
}

layer src/core core
layer formats core formats
layer src/text core text
layer src/weights core weights
layer src/graph core weights graph
layer simd core weights graph simd
layer src/models core weights graph models
layer src/runtime core weights graph models text formats backends runtime
layer src/eval core weights graph models text formats runtime eval
layer src/api core weights graph models text formats backends runtime api
layer bench core formats weights graph simd runtime eval bench

# backends/list.cpp alone sees every backend; a backend sees neither models nor formats nor sessions.
layer src/backends core weights graph backends simd
bad=$(grep -rnE '#[[:space:]]*include[[:space:]]*"(simd|cuda)/' src --include='*.h' --include='*.cpp' | grep -v '^src/backends/list.cpp:' || true)
[ -z "$bad" ] || { printf 'only src/backends/list.cpp may include simd or cuda:\n%s\n' "$bad"; status=1; }

# run, chat, logits and bench use the public header alone.
for file in run chat logits bench tokenize explain common main handles; do
  for suffix in cpp h; do
    [ -f "tools/cli/$file.$suffix" ] || continue
    bad=$(grep -nE '#[[:space:]]*include[[:space:]]*"[^"]*/' "tools/cli/$file.$suffix" || true)
    [ -z "$bad" ] || { printf 'tools/cli/%s.%s may include moiety.h only:\n%s\n' "$file" "$suffix" "$bad"; status=1; }
  done
done

private Eigen src/backends/reference
private hwy simd
private 'oneapi/dnnl|dnnl' src/backends/onednn
private 'tbb|oneapi/tbb' src/core/threads_tbb.cpp
private pcre2 src/text/regex
private utf8proc src/text
private zlib formats/zip_directory.cpp
private histedit tools/cli/line_editor.cpp

# The environment is read in main alone; the library never prints, aborts or exits.
bad=$(grep -rnE '\b(getenv|secure_getenv)\(' src simd formats tools/cli --include='*.h' --include='*.cpp' | grep -v '^tools/cli/main.cpp:' || true)
[ -z "$bad" ] || { printf 'getenv outside main:\n%s\n' "$bad"; status=1; }
bad=$(grep -rnE '\b(std::)?(abort|exit|_exit|printf|puts)\(|std::c(out|err)\b' src simd formats --include='*.h' --include='*.cpp' || true)
[ -z "$bad" ] || { printf 'the library prints, aborts or exits:\n%s\n' "$bad"; status=1; }
exit $status
