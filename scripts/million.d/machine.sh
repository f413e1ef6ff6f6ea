# Checks that the machine has what a run needs, before anything is started.
# shellcheck shell=bash disable=SC2154

# Memory per viewer: both ends of its connection in the kernel, its edge, the generator.
viewer_bytes=12500
# Memory per edge without viewers, with its generator process and its share of the servers.
edge_bytes=$((40 << 20))
# Memory for PostgreSQL, Kafka, Redis and the core.
servers_bytes=$((1536 << 20))
# Memory left to everything else on the machine.
spare_bytes=$((1024 << 20))
# Descriptors of an edge besides those of its viewers.
edge_files=600
max_viewers_per_edge=19000

meminfo_kib() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }

gib() { awk -v bytes="$1" 'BEGIN { printf "%.1f GiB", bytes / 2^30 }'; }

check_machine() {
  [[ $first_port =~ ^[0-9]{4,5}$ ]] && ((first_port >= 1024 && first_port <= 60000)) ||
    usage "LC_MILLION_PORT=$first_port: a port from 1024 to 60000 is needed"
  check_files
  check_memory
  check_ports
  check_kernel
  command -v jq >/dev/null || fail "jq is missing; scripts/setup installs it"
  [[ -x $bin/lcd && -x $bin/lc ]] || {
    [[ -z ${LC_MILLION_BIN:-} ]] || fail "lcd and lc are not in $bin"
    cargo build --release --locked --bins
  }
  # Half of the comments, and at least one after the ban.
  comments_before_ban=$((comments / 2))
  # Long enough for a comment to reach every viewer before the next one, at the pace that the generator and
  # the edges share.
  gap_s=${gap_s:-$((5 + viewers / 40000))}
}

check_files() {
  local limit
  limit=$(ulimit -Hn)
  [[ $limit != unlimited ]] || limit=$(</proc/sys/fs/nr_open)
  ulimit -Sn "$limit"
  local fitting=$((limit - edge_files))
  ((fitting >= 1)) || fail "the limit of open files is $limit; an edge needs $edge_files besides its viewers (ulimit -Hn)"
  ((fitting <= max_viewers_per_edge)) || fitting=$max_viewers_per_edge
  local needed=$(((viewers + fitting - 1) / fitting))
  edges=${edges:-$needed}
  ((edges >= needed)) || fail "$viewers viewers need $needed edges: the limit of open files allows $fitting viewers per edge"
  # Both ends of each connection are on this machine: two descriptors per viewer.
  local free allocated maximum
  read -r allocated _ maximum </proc/sys/fs/file-nr
  free=$((maximum - allocated))
  ((free > 2 * viewers + 2000 * edges)) ||
    fail "the kernel has $free file descriptors left for all processes, but $viewers viewers need $((2 * viewers + 2000 * edges)) (fs.file-max)"
}

check_memory() {
  local available needed
  available=$(($(meminfo_kib MemAvailable) * 1024))
  needed=$((viewers * viewer_bytes + edges * edge_bytes + servers_bytes + spare_bytes))
  ((available >= needed)) ||
    fail "$(gib $available) of memory is available; $viewers viewers on $edges edges need about $(gib $needed)"
}

# If memory runs out anyway, the kernel kills first what this script started.
offer_to_the_oom_killer() { echo 900 >/proc/self/oom_score_adj; }

# Called while memory grows.
guard_memory() {
  local left=$(($(meminfo_kib MemAvailable) * 1024))
  ((left > spare_bytes / 2)) || fail "only $(gib $left) of memory is left; stopped before the machine runs out"
}

check_ports() {
  local low high edge last=$((first_port + 100 + edges))
  read -r low high </proc/sys/net/ipv4/ip_local_port_range
  ((last < low || first_port > high)) ||
    fail "the ports $first_port to $last overlap with those that the kernel assigns to connections ($low to $high); set LC_MILLION_PORT"
  # From each source address the generator opens at most 12 500 connections to an edge.
  ((high - low >= 14000)) ||
    fail "the kernel has $((high - low)) ports for connections from one address to one edge; 14000 are needed (net.ipv4.ip_local_port_range)"
  for ((edge = 0; edge <= edges; edge++)); do
    ! port_is_taken $((first_port + 100 + edge)) ||
      fail "port $((first_port + 100 + edge)) is taken; set LC_MILLION_PORT, or run scripts/million down if a run was killed"
  done
}

# Connection tracking, if active, drops connections beyond its table.
check_kernel() {
  local tracked=/proc/sys/net/netfilter/nf_conntrack_count limit watches
  if [[ -r $tracked ]] && (($(<"$tracked") > 0)); then
    limit=$(</proc/sys/net/netfilter/nf_conntrack_max)
    ((limit > viewers + 10000)) ||
      fail "the kernel tracks connections, at most $limit (net.netfilter.nf_conntrack_max)"
  fi
  watches=$(</proc/sys/fs/epoll/max_user_watches)
  ((watches > 2 * viewers + 10000)) ||
    fail "a user may watch $watches descriptors; two per viewer are needed (fs.epoll.max_user_watches)"
}
