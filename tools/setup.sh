# Shared by tools/demo, tools/test and .ci/run: installs what is missing and builds. Sourced, not run (POSIX sh).
# Which compiler: clang-19. Its GEMMs are 4 to 6 % faster than g++ 12's here (Zen 4, one thread, avx512_bf16, Gop/s at 480
# tokens; g++ in brackets): q4_0 353 (331 to 335), q8_0 353 (332 to 336), bf16 224 (216). At 60: 300 (290), 296 (288), 174 (170).
# build/bench/bench_op -t 1 --level avx512_bf16 --type q4_0 --seconds 0.2 --stream 64, twice, alternating, on a quiet machine.

root=$(cd "$(dirname "$0")/.." && pwd)
packages="clang-19 lld-19 libomp-19-dev meson ninja-build pkg-config libtbb-dev libhwy-dev libdnnl-dev libeigen3-dev doctest-dev
  libpcre2-dev libutf8proc-dev libsimdjson-dev nlohmann-json3-dev libcli11-dev libfmt-dev libedit-dev zlib1g-dev g++"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# missing_packages NAME...: those that are not installed.
missing_packages() {
  for package in "$@"; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || status=
    [ "$status" = "install ok installed" ] || printf '%s ' "$package"
  done
}

# quietly WHAT COMMAND...: one line while it runs; its output only when it fails.
quietly() {
  what=$1
  shift
  log=$(mktemp)
  started=$(date +%s)
  if [ -t 2 ]; then printf '  %s ...' "$what" >&2; fi
  if "$@" >"$log" 2>&1 </dev/null; then
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    say "  $what: done ($(($(date +%s) - started)) s)"
    rm -f "$log"
  else
    if [ -t 2 ]; then printf '\n' >&2; fi
    cat "$log" >&2
    rm -f "$log"
    die "$what failed"
  fi
}

# install_packages NAME...: installs what is missing with apt, as root or with sudo. Asks nothing.
install_packages() {
  command -v dpkg-query >/dev/null || die "this script installs Debian packages and found no dpkg. Install clang 19, meson, ninja and
the libraries of README.md's table yourself, then: meson setup build && ninja -C build"
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" = 0 ]; then as_root=
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root="sudo -n"
  elif command -v sudo >/dev/null && [ -t 0 ] && sudo -v; then as_root=sudo
  else
    die "these packages are missing and neither root nor sudo works here; as root, run:
  apt-get update && apt-get install -y --no-install-recommends $missing"
  fi
  say "Installing packages that are missing: $missing"
  # shellcheck disable=SC2086
  if ! $as_root apt-get install -s --no-install-recommends $missing >/dev/null 2>&1; then
    quietly "apt-get update" $as_root apt-get update
  fi
  # shellcheck disable=SC2086
  quietly "apt-get install" $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}

# pick_compiler: sets CC and CXX unless the user did; ccache in front where it is installed.
pick_compiler() {
  [ -z "${CXX:-}" ] || return 0
  CC=clang-19 CXX=clang++-19
  if command -v ccache >/dev/null; then CC="ccache $CC" CXX="ccache $CXX"; fi
  export CC CXX CC_LD=lld-19 CXX_LD=lld-19
}

# with_progress COMMAND...: ninja's steps as one line that moves on a terminal; its output only when it fails.
with_progress() {
  log=$(mktemp)
  if [ -t 2 ]; then
    fifo=$(mktemp -u)
    mkfifo "$fifo"
    "$@" >"$fifo" 2>&1 </dev/null &
    child=$!
    while IFS= read -r line; do
      printf '%s\n' "$line" >>"$log"
      case $line in '['*/*) printf '\r\033[K  building %s' "${line%%]*}]" >&2 ;; esac
    done <"$fifo"
    rm -f "$fifo"
    printf '\r\033[K' >&2
    code=0
    wait "$child" || code=$?
  else
    code=0
    "$@" >"$log" 2>&1 </dev/null || code=$?
  fi
  if [ "$code" != 0 ]; then
    cat "$log" >&2
    rm -f "$log"
    die "the build failed"
  fi
  rm -f "$log"
}

# configure_build DIR OPTION...: meson setup, once.
configure_build() {
  dir=$1
  shift
  [ -f "$dir/build.ninja" ] && return 0
  if [ -e "$dir" ] && [ -n "$(ls -A "$dir" 2>/dev/null)" ]; then rm -rf "$dir"; fi  # a set-up that was interrupted
  pick_compiler
  quietly "meson setup ${dir##*/} (${CXX##* })" meson setup "$dir" "$root" "$@"
}

# set_up: packages and build/; TARGET... as ninja takes them, all by default.
set_up() {
  # shellcheck disable=SC2086
  install_packages $packages
  configure_build "$root/build" --buildtype=release
  started=$(date +%s)
  with_progress ninja -C "$root/build" "$@"
  took=$(($(date +%s) - started))
  [ "$took" -lt 3 ] || say "  build: done ($took s)"
}
