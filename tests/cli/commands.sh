# What the command-line tests share. Before it is sourced: moiety is the binary's path, silent_failures may be set.
# Afterwards: a folder $tmp, the number of $failures.
tmp=$(mktemp -d)
export XDG_CACHE_HOME=$tmp/cache  # not the user's, also where no build runs this
trap 'rm -rf "$tmp"' EXIT
failures=0
bad() { echo "FAIL: $*"; echo "  stdout: $(head -c 400 "$tmp/out")"; echo "  stderr: $(tail -c 400 "$tmp/err")"; failures=$((failures + 1)); }

# exits CODE ARGUMENTS...: runs it, checks the code; a failure has a message on stderr, and with silent_failures nothing
# on stdout.
exits() {
  wanted=$1
  shift
  "$moiety" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
  got=$?
  [ "$got" = "$wanted" ] || bad "exit code $got, expected $wanted: $*"
  if [ "$wanted" != 0 ]; then
    [ -s "$tmp/err" ] || bad "no message: $*"
    [ -n "${silent_failures:-}" ] && [ -s "$tmp/out" ] && bad "an answer of a command that failed: $*"
  fi
}
err_has() { grep -q -- "$1" "$tmp/err" || bad "stderr lacks '$1'"; }
out_has() { grep -q -- "$1" "$tmp/out" || bad "stdout lacks '$1'"; }
