# The report: `lc million-report` writes it from the measurements of the run.
# shellcheck shell=bash disable=SC2154

# Writes the facts that are in no other file, one `NAME VALUE` per line.
write_facts() {
  cat <<FACTS
command_line $command_line
date $(date -u +'%Y-%m-%d %H:%M')
processors $(nproc)
processor_model $(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)
memory_kib $(meminfo_kib MemTotal)
kernel $(uname -r)
open_files $(ulimit -n)
page_bytes $(getconf PAGESIZE)
clock_ticks_per_second $(getconf CLK_TCK)
tcp_limit_pages $(awk '{ print $3 }' /proc/sys/net/ipv4/tcp_mem)
viewers $viewers
edges $edges
comments $comments
comments_before_ban $comments_before_ban
connect_rate $connect_rate
hold_s $hold_s
gap_s $gap_s
ping_s $ping_s
held_connections $held_connections
ban_ms $ban_ms
ban_command_ms $ban_command_ms
second_attempt $second_attempt
edge_nice $edge_nice
edge_bytes $edge_bytes
max_viewers_per_edge $max_viewers_per_edge
spare_bytes $spare_bytes
FACTS
}

# Writes the report, and where the run fell short into $stack_dir/shortfalls.
write_report() {
  write_facts >"$stack_dir/facts"
  mkdir -p "$(dirname "$report")"
  "$bin/lc" million-report "$stack_dir" --output "$report" --check "$stack_dir/check.jsonl" \
    ${costs:+--costs "$costs"} \
    >"$stack_dir/shortfalls" ||
    fail "the report cannot be written"
  say "planned for the loads of this run beside what was used:"
  "$bin/lc" plan --check "$stack_dir/check.jsonl" || (($? == 2))
}
