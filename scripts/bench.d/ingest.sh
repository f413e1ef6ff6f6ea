# Durable comments per second that one lcd accepts over WebSocket, with the load generator on the same
# machine. Rising rates of 10 s each; one line per rate: offered, acknowledged, ack latency, lag, and the
# processor time of lcd per comment.
# shellcheck shell=bash disable=SC2154

rates=("$@")
((${#rates[@]})) || rates=(10k 20k 30k 50k)
cargo build --release --locked --quiet

dir=$(mktemp -d)
trap 'stop_daemons; rm -rf "$dir"' EXIT
start lcd
lc=("$release/lc" --socket "$dir/lcd/admin.sock")

echo "$(nproc) cores, $(uname -sr), data on $(df --output=fstype "$dir" | tail -n 1)"
for rate in "${rates[@]}"; do
  before_us=$(processor_us "${daemons[0]}")
  "${lc[@]}" loadgen --url "ws://$(address lcd)" --viewers 0 --senders 100 --rate "$rate" --duration 10s --json \
    >"$dir/report" 2>/dev/null
  lag=$("${lc[@]}" lag --json | jq 'select(.group == "archiver") | .lag')
  comment_us=$(jq -n "($(processor_us "${daemons[0]}") - $before_us) / $(field acked) * 10 | round / 10")
  printf 'offered %5s/s  acknowledged %8.0f/s  ack p50 %.1f ms, p99 %.1f ms  %s µs a comment  refused %s  archiver behind %s  %s\n' \
    "$rate" "$(field acked_per_second)" "$(field ack_ms.p50)" "$(field ack_ms.p99)" "$comment_us" \
    "$(field rejected)" "$lag" "$(field note)"
done
# The last rate is the highest, at which the most comments share what a batch costs.
[[ -z $costs ]] || "$release/lc" set-cost "$costs" stage_us "$comment_us" --command "scripts/bench ingest ${rates[-1]}" \
  --what "processor time of one comment in all stages together, of one lcd on embedded engines"
