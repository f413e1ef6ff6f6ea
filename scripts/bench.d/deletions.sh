# How long a comment that the moderation model rejects stays on viewers' screens: from the time at
# which it is due to its deletion at each viewer. Recorded chat is sent at each rate for 20 s, and one
# comment in a hundred is toxic; one lcd on its defaults, 100 viewers, the load generator on the same
# machine. Ends with 1 if the slowest hundredth takes longer than 250 ms at any rate.
# shellcheck shell=bash disable=SC2154

rates=("$@")
((${#rates[@]})) || rates=(1000 5000)
seconds=20
viewers=100
cargo build --release --locked --quiet

dir=$(mktemp -d)
trap 'stop_daemons; rm -rf "$dir"' EXIT
start lcd
lc=("$release/lc" --socket "$dir/lcd/admin.sock")

echo "$(nproc) cores, $(uname -sr), $viewers viewers, $seconds s per rate"
status=0
for rate in "${rates[@]}"; do
  gzip --decompress --stdout fixtures/chat/chat_open_chatdownloader_examples.jsonl.gz |
    jq --null-input --compact-output --argjson rate "$rate" --argjson seconds "$seconds" '
      [inputs.text] as $chat
      | ["you are a fucking retarded faggot", "kill yourself you stupid bitch"] as $toxic
      | range($rate * $seconds)
      | { ts_ms: (. * 1000 / $rate | floor), user: "u\(. % 1000)",
          text: (if . % 100 == 50 then $toxic[. / 100 % 2 | floor] else $chat[. % ($chat | length)] end) }' \
      >"$dir/chat.jsonl"
  "${lc[@]}" loadgen --url "ws://$(address lcd)" --viewers "$viewers" --senders 100 --replay "$dir/chat.jsonl" \
    --fail-if 'deletion_ms.p99>250ms' --json >"$dir/report" 2>"$dir/progress" || status=1
  lag=$("${lc[@]}" lag --json | jq 'select(.group == "moderator") | .lag')
  printf '%5s/s  acknowledged %6.0f/s  deletions at viewers %s  off the screen p50 %s ms, p99 %s ms, max %s ms  delivery p99 %s ms  moderator behind %s  %s\n' \
    "$rate" "$(field acked_per_second)" "$(field deletions_seen)" "$(field deletion_ms.p50)" "$(field deletion_ms.p99)" \
    "$(field deletion_ms.max)" "$(field latency_ms.p99)" "$lag" "$(field generator.note)"
done
exit "$status"
