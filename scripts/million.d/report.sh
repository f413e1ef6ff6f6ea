# The report: what was measured, and what of it fell short.
# shellcheck shell=bash disable=SC2154

# A figure of the generator's report: published, or latency_ms p99.
figure() {
  local text
  text=$(<"$stack_dir/loadgen.json")
  [[ $# -eq 1 ]] || text=$(grep -oE "\"$1\":\{[^}]*\}" <<<"$text" | head -n 1)
  text=$(grep -oE "\"${2:-$1}\":[^,}]+" <<<"$text" | head -n 1)
  echo "${text#*:}"
}

# What the generator says of itself.
generator_note() { sed -nE 's/.*"note":"([^"]*)".*/\1/p' "$stack_dir/loadgen.json"; }

# A table of counts by kind, such as connect_failed, as text.
kinds_of() {
  local text
  text=$(grep -oE "\"$1\":\{[^}]*\}" "$stack_dir/loadgen.json" | head -n 1)
  text=${text#*\{} text=${text%\}}
  [[ -n $text ]] && echo "${text//\"/}" || echo none
}

# 1000000 as 1 000 000
spaced() { sed -E ':a; s/([0-9])([0-9]{3})($| )/\1 \2\3/; ta' <<<"$1"; }

kib() { gib $(($1 * 1024)); }

mib() { awk -v kib="$1" 'BEGIN { printf "%.0f MiB", kib / 1024 }'; }

divide() { awk -v a="$1" -v b="$2" -v form="${3:-%.1f}" 'BEGIN { printf form, b ? a / b : 0 }'; }

seconds() { divide "$1" 1000 "%.${2:-1}f s"; }

# Comments that the viewer by hand saw before and after the ban was with it.
seen_comments() { awk '$2 == "banned" { after = 1 } $2 == "comment" { n[after + 0]++ } END { print n[0] + 0, n[1] + 0 }' "$stack_dir/seen"; }

# Notes where a figure is not what it has to be.
require() {
  [[ $2 == "$3" ]] || echo "$1: $2 instead of $3" >>"$stack_dir/shortfalls"
}

check_figures() {
  local before after
  : >"$stack_dir/shortfalls"
  require "viewers connected by the generator" "$(figure connected)" "$((viewers - 1))"
  require "viewers cut off" "$(figure disconnected)" 0
  require "reconnects" "$(figure reconnects)" 0
  require "comments acknowledged" "$(figure acked)" "$comments"
  require "comments delivered to the generator's viewers" "$(figure delivered)" "$((comments * (viewers - 1)))"
  require "comments lost" "$(figure lost)" 0
  require "comments duplicated" "$(figure duplicated)" 0
  require "comments out of order" "$(figure out_of_order)" 0
  read -r before after < <(seen_comments)
  # On a slow machine the next one may have been sent already.
  ((before >= comments_before_ban && before < comments)) ||
    require "comments seen by the banned viewer before the ban" "$before" "$comments_before_ban"
  require "comments seen by the banned viewer after the ban" "$after" 0
  require "connections closed by the ban" "$(grep -oE '"connections":[0-9]+' "$stack_dir/ban.json" | cut -d: -f2)" 1
  require "the banned viewer was told" "${ban_ms:+yes}" yes
  require "the banned viewer's next attempt" "${second_attempt%% *}" refused
}

write_report() {
  check_figures
  mkdir -p "$(dirname "$report")"
  {
    report_head
    report_result
    report_cost
    report_limits
    report_setting
  } >"$report"
}

report_head() {
  cat <<MD
# $(spaced "$viewers") viewers on one machine

\`$command_line\`, $(date -u +'%Y-%m-%d %H:%M') UTC. Written by the script from what it measured.

$(nproc) processors ($(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)), $(kib "$(meminfo_kib MemTotal)") of memory, \
Linux $(uname -r), a limit of $(spaced "$(ulimit -n)") open files a process. Viewers, edges, servers and the load generator share it.

MD
}

report_result() {
  local before
  read -r before _ < <(seen_comments)
  if [[ -s $stack_dir/shortfalls ]]; then
    echo "**It fell short:**"
    echo
    sed 's/^/- /' "$stack_dir/shortfalls"
  else
    echo "Every viewer connected and got every comment, and the ban reached the one it was for."
  fi
  cat <<MD

| what | figure |
|---|---|
| viewers connected | $(spaced $(($(figure connected) + 1))) of $(spaced "$viewers"), over $(at connected edges_processes) edges |
| time to connect them all | $(seconds_from connecting connected) s, $connect_rate a second asked for; from its turn to its welcome a viewer waited p50 $(seconds "$(figure connect_ms p50)" 3), p99 $(seconds "$(figure connect_ms p99)" 2), at most $(seconds "$(figure connect_ms max)" 2) |
| attempts that failed for good | $(kinds_of connect_failed) |
| held | $(spaced $((held_connections - 1))) by the edges' count at the end of $hold_s s without a comment; then $(seconds_from held delivered) s with comments; $(figure disconnected) cut off, $(figure reconnects) reconnects |
| comments | $(figure published) sent by one user, $(figure acked) acknowledged, one every $gap_s s |
| deliveries | $(spaced "$(figure delivered)") of $(spaced "$(figure expected)"); $(figure lost) lost, $(figure duplicated) duplicated, $(figure out_of_order) out of order |
| from sending to a viewer | p50 $(seconds "$(figure latency_ms p50)" 2), p99 $(seconds "$(figure latency_ms p99)" 2), the last of all viewers $(seconds "$(figure latency_ms max)" 2) |
| from sending to the acknowledgement | p50 $(seconds "$(figure ack_ms p50)" 3), at most $(seconds "$(figure ack_ms max)" 3) |
| the ban of one viewer among them | with the viewer ${ban_ms:-never} ms after \`lc ban\` was started, which itself was back after $ban_command_ms ms; the viewer had seen $before of the $comments comments and saw no more; its next attempt was $second_attempt |

MD
}

report_cost() {
  local kernel_kib
  kernel_kib=$(grown started connected slab_kib)
  cat <<MD
## What it cost

| memory | | a viewer |
|---|---|---|
| available before the run | $(kib "$(at empty available_kib)") | |
| available with servers, core and edges, no viewer | $(kib "$(at started available_kib)") | |
| available with all connected | $(kib "$(at connected available_kib)") | $(divide $((1024 * ($(at started available_kib) - $(at connected available_kib)))) "$viewers" %.0f) bytes, everything |
| least available during the run | $(kib "$(lowest 2)") | |
| the kernel's objects (slab) for both ends of each connection | $(mib "$kernel_kib") | $(divide $((1024 * kernel_kib)) "$viewers" %.0f) bytes |
| edges, resident | $(mib "$(at connected edges_rss_kib)"), before the viewers $(mib "$(at started edges_rss_kib)") | $(divide $((1024 * $(grown started connected edges_rss_kib))) "$viewers" %.0f) bytes |
| edges, shared pages counted once | $(mib "$(at weighed edges_pss_kib)") | |
| generator, shared pages counted once | $(mib "$(at weighed generator_pss_kib)") in $(at connected generator_processes) processes | $(divide $((1024 * $(at weighed generator_pss_kib))) "$viewers" %.0f) bytes |
| data in TCP's queues, at most | $(mib $(($(highest 3) * $(getconf PAGESIZE) / 1024))) of $(mib $(($(awk '{ print $3 }' /proc/sys/net/ipv4/tcp_mem) * $(getconf PAGESIZE) / 1024))) the kernel allows | |

| seconds of processor time | edges | generator | core | servers | the machine was busy |
|---|---|---|---|---|---|
| while connecting ($(seconds_from connecting connected) s) | $(cpu_s connecting connected edges) | $(cpu_s connecting connected generator) | $(cpu_s connecting connected core) | $(cpu_s connecting connected servers) | $(busy_percent connecting connected) % |
| held in silence ($(seconds_from connected held) s) | $(cpu_s connected held edges) | $(cpu_s connected held generator) | $(cpu_s connected held core) | $(cpu_s connected held servers) | $(busy_percent connected held) % |
| $comments_before_ban of the comments ($(seconds_from held banned) s) | $(cpu_s held banned edges) | $(cpu_s held banned generator) | $(cpu_s held banned core) | $(cpu_s held banned servers) | $(busy_percent held banned) % |

Edges and generator together: $(divide "$(awk -v a="$(cpu_s connecting connected edges)" -v b="$(cpu_s connecting connected generator)" 'BEGIN { print 1e6 * (a + b) }')" "$viewers" %.0f) µs
of a processor to connect a viewer. The edges: $(divide "$(awk -v a="$(cpu_s held banned edges)" 'BEGIN { print 1e6 * a }')" $((comments_before_ban * viewers)) %.1f) µs to
deliver a comment to a viewer, everything else they did meanwhile included; the generator $(divide "$(awk -v a="$(cpu_s held banned generator)" 'BEGIN { print 1e6 * a }')" $((comments_before_ban * viewers)) %.1f) µs to receive it.

MD
}

# How many viewers the memory would have been enough for, with what was left and what one took.
report_limits() {
  local taken left more last_s cpu_share
  taken=$((1024 * ($(at started available_kib) - $(at connected available_kib)) / viewers))
  ((taken > 0)) || taken=1
  left=$((1024 * $(lowest 2)))
  more=$(((left - spare_bytes) / (taken + edge_bytes / most_viewers_per_edge)))
  last_s=$(seconds "$(figure latency_ms max)")
  cpu_share=$(busy_percent connecting connected)
  cat <<MD
## What limited it

- **Processors.** A comment is a write and a read for each viewer; $(nproc) processors that do both took $last_s until the
  last of $(spaced "$viewers") viewers had it. Edges on machines of their own would not share them with the readers.
- **Connecting.** $(divide $((1000000 * viewers)) "$(grown connecting connected at_us)" %.0f) a second came in of $connect_rate asked for, with the machine busy to $cpu_share %:
  handshakes at both ends and the growth of the kernel's memory.
- **Memory.** A viewer took $(spaced "$taken") bytes, of which the kernel's two ends are most. At its lowest
  $(gib "$left") were left: room for about $(((more > 0 ? more : 0) / 1000)) thousand more.
- **Open files.** $(spaced "$(ulimit -n)") a process make it $(at connected edges_processes) edges and $(($(at connected generator_processes) - 1)) processes of viewers; each edge costs
  $(divide "$(at started edges_rss_kib)" $((1024 * edges)) %.0f) MiB and its connections to the servers. With a higher limit it would be one a processor.
- **The generator's own word:** $(generator_note).

MD
}

report_setting() {
  cat <<MD
## How it was set up

Redis, PostgreSQL (comments and metadata) and Kafka, one node each, from \`scripts/stack\`; one \`lcd\` with the roles coordinator,
moderator and archiver; $edges \`lcd\` with the role edge, each with one delivery worker, up to $most_viewers_per_edge viewers and
2 connections to PostgreSQL, at a nice value of $edge_nice: readers go before writers, so that little waits unread in
the kernel. Viewers: plain WebSocket, JSON, from loopback addresses of the generator's choice;
one of them, the one who is banned, is a shell with a socket and a token of its own.

Differs from the defaults because all viewers are on $(nproc) processors: handshakes may take 30 s (3 s), pings every $ping_s s (default 30 s), idle viewers closed after
$((3 * ping_s)) s (300 s), and no message to everybody about how many watch (\`delivery.presence_interval\`).
MD
}
