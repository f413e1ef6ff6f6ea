# Measures what the run costs the machine: memory and processors once per second, and at each mark what
# each group of processes has used so far. `lc million-report` reads the files.
# shellcheck shell=bash disable=SC2154

start_sampler() {
  : >"$stack_dir/samples"
  run_in_background sampler sample
}

# Every second: time in µs, available memory in KiB, pages of data in TCP's queues.
sample() {
  while :; do
    echo "${EPOCHREALTIME/[.,]/} $(meminfo_kib MemAvailable) $(tcp mem)" >>"$stack_dir/samples"
    sleep 1
  done
}

# Prints a figure of TCP's line in sockstat: inuse, mem, …
tcp() {
  awk -v name="$1" '$1 == "TCP:" { for (i = 2; i < NF; i += 2) if ($i == name) print $(i + 1) }' /proc/net/sockstat
}

machine_ticks() {
  awk '$1 == "cpu" { for (i = 2; i <= 9; i++) all += $i; print all - $5 - $6, all }' /proc/stat
}

# Prints the processes of a group.
pids_of() {
  case $1 in
    edges) awk '{ print $1 }' "$stack_dir"/run/edge-*.pid 2>/dev/null || true ;;
    core) running_pid core || true ;;
    servers) { awk '{ print $1 }' "$stack_dir"/stack/run/*.pid 2>/dev/null || true; } | with_children ;;
    generator) echo "${generator:-}" | with_children ;;
  esac
}

# Prints processes and their children.
with_children() {
  local pid
  while read -r pid; do
    [[ -n $pid ]] || continue
    echo "$pid"
    cat "/proc/$pid"/task/*/children 2>/dev/null | tr ' ' '\n' | sed '/^$/d' || true
  done
}

# Reads process ids. Prints the ticks of user and system time, the resident KiB and the number of processes.
sum_of_processes() {
  # A process that has just ended does not count. The name in parentheses may contain anything.
  { sed 's|.*|/proc/&/stat|' | xargs -r cat 2>/dev/null || true; } | sed 's/.*) //' |
    awk -v page_kib="$(($(getconf PAGESIZE) / 1024))" '
      { ticks += $12 + $13; pages += $22 }
      END { printf "%d %d %d\n", ticks, pages * page_kib, NR }'
}

# Records all figures of this moment under a name.
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

# Records proportional memory, in which shared pages count once. Takes a moment.
weigh_processes() {
  local group
  for group in edges generator; do
    pids_of $group | sed 's|.*|/proc/&/smaps_rollup|' | { xargs -r cat 2>/dev/null || true; } |
      awk -v name="weighed ${group}_pss_kib" '$1 == "Pss:" { sum += $2 } END { print name, sum + 0 }' >>"$stack_dir/marks"
  done
}
