# Daemons that a benchmark starts and asks, each in a directory of its own under $dir, and what a report of
# `lc loadgen --json` says.
# shellcheck shell=bash disable=SC2154

daemons=()

# start NAME [ARGUMENT…]: returns when it is ready.
start() {
  local name=$1
  shift
  LCD_NODE__NAME=$name target/release/lcd "$@" --listen 127.0.0.1:0 --data-dir "$dir/$name" \
    >"$dir/$name.out" 2>"$dir/$name.err" &
  daemons+=($!)
  for _ in {1..300}; do
    grep -qs ready "$dir/$name.out" && return
    kill -0 $! 2>/dev/null || break
    sleep 0.1
  done
  echo "$name does not start:" >&2
  cat "$dir/$name.err" >&2
  exit 1
}

stop_daemons() {
  ((${#daemons[@]} == 0)) || kill "${daemons[@]}" 2>/dev/null || true
  wait
}

address() { grep -oE '[0-9.]+:[0-9]+' "$dir/$1.out" | head -n 1; }

# Of the report in $dir/report: a field, a figure of a distribution, the comments refused by reason.
field() { grep -oE "\"$1\":[^,}]+" "$dir/report" | head -n 1 | cut -d: -f2-; }
of() { grep -oE "\"$1\":\{[^}]*\}" "$dir/report" | grep -oE "\"$2\":[0-9.]+" | cut -d: -f2; }
refused() { grep -oE '"rejected":\{[^}]*\}' "$dir/report" | cut -d: -f2-; }
