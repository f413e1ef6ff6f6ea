# Servers as processes: found again by pid and start time, so that a number used anew is never mistaken
# for a server; signalled with all their descendants (PostgreSQL's run in sessions of their own).
# shellcheck shell=bash

fail() {
  echo "stack: $*" >&2
  exit 1
}

log_of() { echo "$stack_dir/log/$1.log"; }

# State letter, parent and start time of a process, from /proc.
process_facts() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  # The name in parentheses may hold anything.
  read -ra stat <<<"${stat##*) }"
  echo "${stat[0]} ${stat[1]} ${stat[19]}"
}

# The pid of a server that runs; fails if it does not.
running_pid() {
  local pid started state now
  { read -r pid started <"$stack_dir/run/$1.pid"; } 2>/dev/null || return 1
  read -r state _ now < <(process_facts "$pid") || return 1
  [[ $now == "$started" && $state != [ZX] ]] && echo "$pid"
}

# A process and all below it.
family() {
  local stat pid parent
  local -A children=()
  for stat in /proc/[0-9]*; do
    pid=${stat#/proc/}
    read -r _ parent _ < <(process_facts "$pid") || continue
    children[$parent]+=" $pid"
  done
  local -a todo=("$1")
  while ((${#todo[@]})); do
    pid=${todo[0]}
    # shellcheck disable=SC2206 # a list of numbers
    todo=("${todo[@]:1}" ${children[$pid]:-})
    echo "$pid"
  done
}

signal_family() {
  local -a pids
  mapfile -t pids < <(family "$2")
  kill -s "$1" -- "${pids[@]}" 2>/dev/null || true
}

# Starts a server's command in a process group of its own; it outlives this script. A session of its own it
# does not get: Linux shares the processor among sessions first, and what uses the servers is one of them.
spawn() {
  local name=$1 log
  shift
  log=$(log_of "$name")
  echo "--- $(date -Is) $name starts" >>"$log"
  set -m
  "$@" </dev/null >>"$log" 2>&1 9>&- &
  set +m
  local pid=$! started
  read -r _ _ started < <(process_facts "$pid") || started=0
  echo "$pid $started" >"$stack_dir/run/$name.pid"
}

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Whether a server's port stays taken. What was killed a moment ago lets go of it when the last of its
# threads has ended.
port_stays_taken() {
  local name=$1 port=$2 deadline=$((SECONDS + 10))
  while port_is_taken "$port"; do
    [[ -e $stack_dir/run/$name.pid ]] && ((SECONDS < deadline)) || return 0
    sleep 0.1
  done
  return 1
}

complain() {
  local name=$1
  echo "stack: $name $2; the end of $(log_of "$name"):" >&2
  tail -n 20 "$(log_of "$name")" | sed 's/^/    /' >&2
  return 1
}

# Waits until a server answers; says why not, with the end of its log.
await() {
  local name=$1 deadline=$((SECONDS + wait_s))
  until "${name%-*}_answers" "$name" 2>/dev/null; do
    running_pid "$name" >/dev/null || { complain "$name" "ended by itself"; return 1; }
    ((SECONDS < deadline)) || { complain "$name" "does not answer after $wait_s s"; return 1; }
    sleep 0.1
  done
}

# Starts one server unless it runs, and waits until it answers.
start_server() {
  local name=$1 kind=${1%-*} since=$EPOCHREALTIME port
  port=$("${kind}_port" "$name")
  if ! running_pid "$name" >/dev/null; then
    ! port_stays_taken "$name" "$port" ||
      fail "$name: port $port is taken by a program that is not of $stack_dir; set LC_STACK_PORT, or LC_STACK_DIR to its directory"
    mkdir -p "$stack_dir"/{run,log,conf,data}
    "${kind}_prepare" "$name" >>"$(log_of "$name")" 2>&1 || { complain "$name" "could not be prepared"; return 1; }
    local -a command
    mapfile -t command < <("${kind}_command" "$name")
    spawn "$name" "${command[@]}"
  fi
  await "$name" || return 1
  printf '%-10s 127.0.0.1:%s  answers after %s s\n' "$name" "$port" \
    "$(seconds_between "$since" "$EPOCHREALTIME")"
}

# The seconds between two EPOCHREALTIMEs, one digit after the point.
seconds_between() {
  local tenths=$(((${2/[.,]/} - ${1/[.,]/}) / 100000))
  echo "$((tenths / 10)).$((tenths % 10))"
}

# Asks a server to end, and after 15 s makes it.
stop_server() {
  local name=$1 pid
  if pid=$(running_pid "$name"); then
    local deadline=$((SECONDS + 15))
    kill -s "$("${name%-*}_stop_signal")" "$pid" 2>/dev/null || true
    signal_family CONT "$pid"
    while running_pid "$name" >/dev/null; do
      ((SECONDS < deadline)) || {
        echo "$name does not stop: killed" >&2
        signal_family KILL "$pid"
      }
      sleep 0.1
    done
    echo "$name stopped"
  fi
  rm -f "$stack_dir/run/$name.pid"
}

# Fills a template's @NAME@s: fill TEMPLATE FILE NAME=VALUE…
fill() {
  local template=$1 file=$2 text pair
  shift 2
  text=$(<"$template")
  for pair in "$@"; do
    text=${text//"@${pair%%=*}@"/"${pair#*=}"}
  done
  printf '%s\n' "$text" >"$file"
}
