# What the run costs the machine: a line a second of memory and processors, and at each mark what each
# group of processes has used so far.
# shellcheck shell=bash disable=SC2154

start_sampler() {
  : >"$stack_dir/samples"
  run_beside sampler sample
}

# Every second: available memory in KiB, pages of data in TCP's queues, busy and all ticks of the processors.
sample() {
  while :; do
    echo "${EPOCHREALTIME/[.,]/} $(meminfo_kib MemAvailable) $(tcp mem) $(machine_ticks)" >>"$stack_dir/samples"
    sleep 1
  done
}

# A figure of TCP's line in sockstat: inuse, mem, …
tcp() {
  awk -v name="$1" '$1 == "TCP:" { for (i = 2; i < NF; i += 2) if ($i == name) print $(i + 1) }' /proc/net/sockstat
}

machine_ticks() {
  awk '$1 == "cpu" { for (i = 2; i <= 9; i++) all += $i; print all - $5 - $6, all }' /proc/stat
}

# The processes of a group.
pids_of() {
  case $1 in
    edges) awk '{ print $1 }' "$stack_dir"/run/edge-*.pid 2>/dev/null || true ;;
    core) running_pid core || true ;;
    servers) { awk '{ print $1 }' "$stack_dir"/stack/run/*.pid 2>/dev/null || true; } | with_children ;;
    generator) echo "${generator:-}" | with_children ;;
  esac
}

# Processes, and those they started themselves.
with_children() {
  local pid
  while read -r pid; do
    [[ -n $pid ]] || continue
    echo "$pid"
    cat "/proc/$pid"/task/*/children 2>/dev/null | tr ' ' '\n' | sed '/^$/d' || true
  done
}

# Ticks of user and system time of processes whose numbers come in, their resident KiB, how many they are.
sum_of_processes() {
  # One that has just ended counts no more. The name in parentheses may hold anything.
  { sed 's|.*|/proc/&/stat|' | xargs -r cat 2>/dev/null || true; } | sed 's/.*) //' |
    awk -v page_kib="$(($(getconf PAGESIZE) / 1024))" '
      { ticks += $12 + $13; pages += $22 }
      END { printf "%d %d %d\n", ticks, pages * page_kib, NR }'
}

# Keeps all figures of this moment under a name.
mark() {
  local group busy all ticks resident processes
  {
    echo "$1 at_us ${EPOCHREALTIME/[.,]/}"
    echo "$1 available_kib $(meminfo_kib MemAvailable)"
    echo "$1 slab_kib $(meminfo_kib Slab)"
    echo "$1 sockets $(tcp inuse)"
    read -r busy all < <(machine_ticks)
    echo "$1 busy_ticks $busy"
    echo "$1 all_ticks $all"
    for group in edges core servers generator; do
      read -r ticks resident processes < <(pids_of $group | sum_of_processes)
      echo "$1 ${group}_ticks $ticks"
      echo "$1 ${group}_rss_kib $resident"
      echo "$1 ${group}_processes $processes"
    done
  } >>"$stack_dir/marks"
}

# Proportional memory, in which shared pages count once; it takes a moment.
weigh_processes() {
  local group
  for group in edges generator; do
    pids_of $group | sed 's|.*|/proc/&/smaps_rollup|' | { xargs -r cat 2>/dev/null || true; } |
      awk -v name="weighed ${group}_pss_kib" '$1 == "Pss:" { sum += $2 } END { print name, sum + 0 }' >>"$stack_dir/marks"
  done
}

# A figure at a mark.
at() { awk -v mark="$1" -v name="$2" '$1 == mark && $2 == name { print $3; exit }' "$stack_dir/marks"; }

# What a figure grew by from one mark to another.
grown() { echo $(($(at "$2" "$3") - $(at "$1" "$3"))); }

# Seconds of processor time of a group between two marks.
cpu_s() { awk -v ticks="$(grown "$1" "$2" "$3_ticks")" -v hertz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f", ticks / hertz }'; }

# The share of all processors that was busy between two marks, in percent.
busy_percent() {
  awk -v busy="$(grown "$1" "$2" busy_ticks)" -v all="$(grown "$1" "$2" all_ticks)" 'BEGIN { printf "%.0f", all ? 100 * busy / all : 0 }'
}

seconds_from() { awk -v us="$(grown "$1" "$2" at_us)" 'BEGIN { printf "%.0f", us / 1e6 }'; }

# The least or the most of a column of the samples.
lowest() { awk -v n="$1" 'NR == 1 || $n < low { low = $n } END { print low + 0 }' "$stack_dir/samples"; }
highest() { awk -v n="$1" '$n > high { high = $n } END { print high + 0 }' "$stack_dir/samples"; }
