# Two edges, two coordinators, a moderator and an archiver as processes of their own on the servers
# of scripts/stack, the load generator on the same machine. Viewers on both edges receive the
# recorded chat at twenty times its pace, then made-up comments at rising rates. One line per load;
# fails if a comment was lost, duplicated or out of order. Stops what it starts; servers that were
# up stay up.
#
# At the end, what the daemons used stands beside what `lc plan` computes for the same load.
#
# With --costs FILE, the loads are 100 and 2500; the costs of batches are fitted to the load with the
# fewest and to that with the most comments, and written to FILE.
#
# VIEWERS (200) share the edges, DURATION (60s) is the length of each load. CHECK names the file for
# the loads that `lc plan --check` compares; without it, they are removed with the run.
# shellcheck shell=bash

rates=("$@")
if ((${#rates[@]} == 0)); then
  rates=(1000 5000)
  # Costs need a load with few comments.
  [[ -z ${costs:-} ]] || rates=(100 2500)
fi
viewers=${VIEWERS:-200}
duration=${DURATION:-60s}
cargo build --release --locked --quiet
# The build's output reaches the disk before the log needs it.
sync

dir=$(mktemp -d)
check=$(realpath -m "${CHECK:-$dir/check.jsonl}")
: >"$check"
started_stack=
leave() {
  stop_daemons
  [[ $started_stack ]] && scripts/stack down >/dev/null
  rm -rf "$dir"
}
trap leave EXIT

if ! scripts/stack status >/dev/null 2>&1; then
  started_stack=yes
  scripts/stack up >/dev/null
fi
head -c 32 /dev/urandom | base64 -w 0 >"$dir/key"
chmod 600 "$dir/key"
{
  # Names of its own on shared servers; the next run uses them again.
  scripts/stack config | sed -E "
    s/^\[kafka\]/&\nprefix = \"bench.\"\npartitions = { comment_events = 12, moderation_events = 3, ws_messages = 1, dead_letters = 1 }/
    s/^\[redis\]/&\nprefix = \"bench:\"/
    s/^\[cassandra\]/&\nkeyspace = \"bench_cluster\"/
    s/^\[postgres\]/&\nschema = \"bench_cluster\"/"
  echo "[auth]"
  echo "signing_key = \"$dir/key\""
  echo "[broadcast]"
  echo "throttle = [{ from_per_second = 0.0, sample_rate = 1.0 }]"
} >"$dir/lcd.toml"

role() { start "$1" --config "$dir/lcd.toml" --roles "$2"; }
role edge-1 edge
role edge-2 edge
role coordinator-1 coordinator
role coordinator-2 coordinator
role moderator-1 moderator
role archiver-1 archiver

# Writes the processor time of each role to $dir/used. Takes the time of each daemon before the
# load.
take_processor_time() {
  local roles=(edges edges coordinators coordinators moderator archiver) index
  for index in "${!daemons[@]}"; do
    echo "${roles[index]} $(($(processor_us "${daemons[index]}") - $1))"
    shift
  done >"$dir/used"
}

# Prints the processor time per comment of each role.
processor_by_role() {
  awk -v acked="$(field acked)" '
    !($1 in sum) { order[++count] = $1 }
    { sum[$1] += $2 }
    END {
      printf "               µs of a processor per comment:"
      for (i = 1; i <= count; i++) printf " %s %.1f", order[i], sum[order[i]] / (acked ? acked : 1)
      print ""
    }' "$dir/used"
}

# Adds a load to what `lc plan --check` compares: its rates, and the cores that the daemons used.
# The rest of the configuration has the daemon's defaults.
add_check() {
  jq --null-input --compact-output --arg run "scripts/bench cluster, $1" --argjson viewers "$viewers" \
    --argjson cores "$(nproc)" --slurpfile report "$dir/report" --rawfile used "$dir/used" '
    $report[0] as $load
    | ($used | rtrimstr("\n") | split("\n") | map(split(" ") | { role: .[0], us: (.[1] | tonumber) })) as $parts
    | def cores(wanted): ($parts | map(select(wanted) | .us) | add) / $load.acked * $load.acked_per_second / 1e6;
    {
      run: $run, viewers: $viewers, edges: 2, cores: $cores,
      comments_per_second: $load.acked_per_second,
      shown_per_second: ($load.delivered / $viewers / $load.acked * $load.acked_per_second),
      ping_interval_s: 30, presence_per_second: 0.5,
      used_cores: {
        edges: cores(.role == "edges"),
        coordinators: cores(.role == "coordinators"),
        daemons: cores(true)
      }
    }' >>"$check"
}

# measure TITLE LOAD…
measure() {
  local title=$1 failed=0 before=() pid
  shift
  for pid in "${daemons[@]}"; do before+=("$(processor_us "$pid")"); done
  "$release/lc" --socket "$dir/edge-1/admin.sock" loadgen --viewers "$viewers" --json \
    --url "ws://$(address edge-1)" "ws://$(address edge-2)" --signing-key "$dir/key" --duration "$duration" \
    --fail-if 'lost>0' --fail-if 'duplicated>0' --fail-if 'out_of_order>0' "$@" >"$dir/report" 2>"$dir/messages" ||
    failed=$?
  printf '%-14s %6.0f/s acknowledged  ack p50 %.1f p99 %.1f ms  end to end p50 %.1f p99 %.1f max %.0f ms  lost %s duplicated %s out of order %s  refused %s\n' \
    "$title" "$(field acked_per_second)" "$(field ack_ms.p50)" "$(field ack_ms.p99)" "$(field latency_ms.p50)" \
    "$(field latency_ms.p99)" "$(field latency_ms.max)" "$(field lost)" "$(field duplicated)" "$(field out_of_order)" \
    "$(field rejected)"
  take_processor_time "${before[@]}"
  processor_by_role
  ((failed == 0)) || { cat "$dir/messages" >&2; exit "$failed"; }
}

echo "$(nproc) cores, $(uname -sr); $viewers viewers on two edges, $duration each"
measure "fixture x 20" --replay fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz --speed 20
for rate in "${rates[@]}"; do
  measure "$rate/s" --senders 50 --rate "$rate"
  add_check "$rate/s"
done
echo "behind the log at the end:"
"$release/lc" --socket "$dir/edge-1/admin.sock" lag
echo "planned for these loads beside what was used:"
own=()
if [[ ${costs:-} ]]; then
  [[ ! -e $costs ]] || own=(--costs "$costs")
fi
"$release/lc" plan --check "$check" "${own[@]}" || (($? == 2))
if [[ ${costs:-} ]]; then
  "$release/lc" fit-costs "$check" "$costs" --command "scripts/bench cluster ${rates[*]}"
fi
