# Daemons that a benchmark starts, each in its own directory under $dir, and the fields of a report of
# `lc loadgen --json`.
# shellcheck shell=bash disable=SC2154

release=${CARGO_TARGET_DIR:-target}/release
daemons=()

# start NAME [ARGUMENT…]: returns when it is ready.
start() {
  local name=$1
  shift
  LCD_NODE__NAME=$name "$release/lcd" "$@" --listen 127.0.0.1:0 --data-dir "$dir/$name" \
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

# Prints the processor time of a process so far, in µs.
processor_us() {
  sed 's/.*) //' "/proc/$1/stat" | awk -v hertz="$(getconf CLK_TCK)" '{ printf "%.0f\n", 1e6 * ($12 + $13) / hertz }'
}

address() { grep -oE '[0-9.]+:[0-9]+' "$dir/$1.out" | head -n 1; }

# Prints one field of the report in $dir/report, such as `lost` or `ack_ms.p99`; nothing if it has none.
field() { jq --raw-output --compact-output ".$1 // empty" "$dir/report"; }
