# Viewers without a WebSocket beside those with one, on one lcd and one stream, with the load generator on
# the same machine. First, in turns, what a viewer of each transport costs lcd: processor time per delivery
# and resident memory. Then, in turns, the delays of sockets with nobody beside them, and with viewers of
# server-sent events and pollers beside them; the same comments are sent in both, few enough that the machine
# is not busy all the time. The load generators of the others have the lowest priority there: they stand for
# machines elsewhere, while what lcd does for them counts. Ends with 1 if anything is lost, if a viewer of
# server-sent events costs more than 1.5 times what a socket does, or if the median of the sockets' p99 rises
# by more than a tenth.
# shellcheck shell=bash disable=SC2154

sse=${1:-5000}
pollers=${2:-2000}
sockets=${3:-10000}
rounds=${4:-3}
rate=5
rate_beside=1
seconds=30
cargo build --release --locked --quiet

dir=$(mktemp -d)
trap 'stop_daemons; rm -rf "$dir"' EXIT

# load PRIORITY NAME ARGUMENT…: comments of five users; the report goes to $dir/NAME.report.
load() {
  local priority=$1 name=$2
  shift 2
  nice -n "$priority" "$release/lc" --socket "$dir/$daemon/admin.sock" loadgen --url "ws://$(address "$daemon")" --rate "$rate" \
    --senders 5 "$@" --json >"$dir/$name.report" 2>"$dir/$name.progress" || {
    cat "$dir/$name.progress" >&2
    exit 1
  }
}

figure() { jq --raw-output ".$2" "$dir/$1.report"; }

resident_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

# until_viewers N: returns when as many watch the stream.
until_viewers() {
  for _ in {1..600}; do
    (($("$release/lc" --socket "$dir/$daemon/admin.sock" streams --json | jq --slurp 'map(.viewers) | add') >= $1)) && return
    sleep 0.1
  done
  echo "$1 viewers did not come" >&2
  exit 1
}

# median VALUE…
median() { printf '%s\n' "$@" | sort -g | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

lost=0
count_lost() {
  local name
  for name in "$@"; do
    ((lost += $(figure "$name" lost) + $(figure "$name" duplicated) + $(figure "$name" skipped))) || true
  done
}

echo "$(nproc) cores, $(uname -sr), $rate comments/s per load for $seconds s, $rounds rounds"
declare -A cpu memory
for ((round = 1; round <= rounds; round++)); do
  for transport in websocket sse poll; do
    daemon=$transport$round
    start "$daemon"
    pid=${daemons[-1]}
    load 0 idle --no-viewers --duration 1s
    before_kb=$(resident_kb "$pid")
    load 0 cost --viewers "$sse" --transport "$transport" --duration "${seconds}s" --grace 2s &
    running=$!
    until_viewers "$sse"
    sleep 5
    held_kb=$(resident_kb "$pid")
    before_us=$(processor_us "$pid")
    sleep $((seconds / 2))
    us=$(($(processor_us "$pid") - before_us))
    wait "$running"
    count_lost cost
    cpu[$transport]+=" $(awk -v us="$us" -v n=$((sse * rate * (seconds / 2))) 'BEGIN { printf "%.2f", us / n }')"
    memory[$transport]+=" $(((held_kb - before_kb) * 1024 / sse))"
    kill "$pid"
    wait "$pid" || true
    unset 'daemons[-1]'
  done
done
for transport in websocket sse poll; do
  # shellcheck disable=SC2086
  printf '%-10s %s µs of lcd per delivery (%s ), %s bytes of lcd per viewer (%s )\n' "$transport" \
    "$(median ${cpu[$transport]})" "${cpu[$transport]}" "$(median ${memory[$transport]})" "${memory[$transport]}"
done

rate=$rate_beside
echo "$rate comments/s per load, of which there are three"
daemon=beside
start "$daemon"
alone=()
with=()
for ((round = 1; round <= rounds; round++)); do
  for kind in alone with; do
    if [[ $kind == with ]]; then
      others_sse=(--viewers "$sse" --transport sse)
      others_poll=(--viewers "$pollers" --transport poll)
      expected=$((sse + pollers))
    else
      others_sse=(--no-viewers)
      others_poll=(--no-viewers)
      expected=0
    fi
    load 19 sse "${others_sse[@]}" --duration $((seconds * 2))s &
    first=$!
    load 19 poll "${others_poll[@]}" --duration $((seconds * 2))s &
    second=$!
    until_viewers "$expected"
    load 0 sockets --viewers "$sockets" --duration "${seconds}s"
    wait "$first" "$second"
    count_lost sockets sse poll
    p99=$(figure sockets latency_ms.p99)
    [[ $kind == alone ]] && alone+=("$p99") || with+=("$p99")
    printf '%s sockets, %s: p50 %s ms, p99 %s ms' "$sockets" "$kind" "$(figure sockets latency_ms.p50)" "$p99"
    if ((expected)); then
      printf '; %s of server-sent events p99 %s ms, %s pollers p99 %s ms' "$sse" "$(figure sse latency_ms.p99)" \
        "$pollers" "$(figure poll latency_ms.p99)"
    fi
    printf '; lost so far %s\n' "$lost"
  done
done
# shellcheck disable=SC2086
awk -v lost="$lost" -v alone="$(median "${alone[@]}")" -v with="$(median "${with[@]}")" \
  -v cpu="$(median ${cpu[sse]})" -v cpu_of_socket="$(median ${cpu[websocket]})" \
  -v memory="$(median ${memory[sse]})" -v memory_of_socket="$(median ${memory[websocket]})" 'BEGIN {
    printf "lost %d; p99 of sockets %.1f ms alone, %.1f ms beside others (%.2f times); server-sent events: ", lost, alone, with, with / alone
    printf "%.2f times the processor time, %.2f times the memory of a socket\n", cpu / cpu_of_socket, memory / memory_of_socket
    exit lost > 0 || with > 1.1 * alone || cpu > 1.5 * cpu_of_socket || memory > 1.5 * memory_of_socket
  }'
