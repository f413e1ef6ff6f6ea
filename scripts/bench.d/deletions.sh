# How long a comment that the moderation model rejects stays on viewers' screens: from the time at
# which it is due to its deletion at each viewer. Recorded chat is sent at each rate for 20 s, and one
# comment in a hundred is toxic; one lcd on its defaults, 100 viewers, the load generator on the same
# machine. Users have no points, so that the texts decide which comments are deleted: those that
# `lc mod eval` rejects. Ends with 1 if at any rate the slowest hundredth takes longer than 250 ms, a
# comment is not acknowledged, a viewer misses a deletion, or the moderator is behind at the end.
# shellcheck shell=bash disable=SC2154

rates=("$@")
((${#rates[@]})) || rates=(1000 5000)
seconds=20
viewers=100
cargo build --release --locked --quiet

dir=$(mktemp -d)
trap 'stop_daemons; rm -rf "$dir"' EXIT
export LCD_MODERATION__REPUTATION__ENABLED=false
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
  sent=$((rate * seconds))
  deletable=$("${lc[@]}" mod eval "$dir/chat.jsonl" --json | jq '.decisions.reject * .rows | round')
  expected=$((deletable * viewers))
  lag=$("${lc[@]}" lag --json | jq --slurp '[.[] | select(.group == "moderator").lag] | add')
  if ((deletable < sent / 100)); then
    echo "of $((sent / 100)) toxic comments the model rejects at most $deletable" >&2
    status=1
  fi
  [[ $(field acked) == "$sent" && $(field deletions_seen) == "$expected" && $lag == 0 ]] || status=1
  printf '%5s/s  acknowledged %6.0f/s  deletions at viewers %s of %s  off the screen p50 %s ms, p99 %s ms, max %s ms  delivery p99 %s ms  moderator behind %s  %s\n' \
    "$rate" "$(field acked_per_second)" "$(field deletions_seen)" "$expected" "$(field deletion_ms.p50)" \
    "$(field deletion_ms.p99)" "$(field deletion_ms.max)" "$(field latency_ms.p99)" "$lag" "$(field generator.note)"
done
exit "$status"
