#!/bin/sh
# Installs into an empty place, moves it, and builds and runs a C program against what lies there: shared and static.
set -eu
build=$1 source=$2 golden=$3 prefix=$4 root=$5
command -v pkg-config >/dev/null || { echo "SKIP: no pkg-config"; exit 77; }
if nm -D "$build/src/api/libmoiety.so" | grep -qE '__(asan|tsan)'; then echo "SKIP: a sanitizer build needs its runtime in the program"; exit 77; fi
cc=cc
command -v cc >/dev/null || cc=clang-19
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
DESTDIR=$tmp/dest meson install -C "$build" --no-rebuild --quiet >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
mv "$tmp/dest" "$tmp/elsewhere"  # nothing may point back at where it was put
dest=$tmp/elsewhere
headers=$(find "$dest$prefix/include" -type f | wc -l)
[ "$headers" = 1 ] || { echo "expected one header, got $headers"; exit 1; }
pc=$(find "$dest" -name moiety.pc)
[ -n "$pc" ] || { echo "no moiety.pc"; exit 1; }
library=$(dirname "$(find "$dest" -name libmoiety.so)")
[ -e "$library/libmoiety.so.0" ] && [ -e "$library/libmoiety.a" ]

PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$dest
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
# shellcheck disable=SC2046
$cc -std=c11 -Wall -Wextra -Wpedantic -Werror $(pkg-config --cflags moiety) "$source" -o "$tmp/shared" $(pkg-config --libs moiety) -lm
cd "$tmp"
LD_LIBRARY_PATH=$library "$tmp/shared" "$golden" "$tmp"
# shellcheck disable=SC2046
$cc -std=c11 $(pkg-config --cflags moiety) "$source" -o "$tmp/static" "$library/libmoiety.a" \
  $(pkg-config --libs --static moiety | tr ' ' '\n' | grep -v '^-lmoiety$' | tr '\n' ' ') -lm
env -u LD_LIBRARY_PATH "$tmp/static" "$golden" "$tmp"

# The installed binary finds the model that ships, wherever the tree was moved.
if [ -d "$root/models" ]; then
  "$dest$prefix/bin/moiety" run -p "Once" -n 4 --temp 0 --ids >"$tmp/out" 2>"$tmp/err" || { cat "$tmp/err"; exit 1; }
  [ "$(wc -w <"$tmp/out")" -ge 1 ]
fi
