# What each command of scripts/stack does.
# shellcheck shell=bash

# All servers of this stack, one a line.
all_names() {
  local node
  printf '%s\n' redis-{1..3} postgres
  for ((node = 1; node <= $(kafka_brokers); node++)); do
    echo "kafka-$node"
  done
  echo cassandra
}

# The servers that these words mean, one a line; all of them without a word.
names() {
  (($#)) || { all_names; return; }
  local word name found
  for word in "$@"; do
    found=
    for name in $(all_names); do
      [[ $word == "$name" || $word == "${name%-*}" ]] && echo "$name" && found=yes
    done
    [[ $found ]] || fail "there is no server '$word' here; there are: $(all_names | tr '\n' ' ')"
  done
}

kinds() { printf '%s\n' "${@%-*}" | sort -u; }

# One command at a time may change what runs.
take_lock() {
  mkdir -p "$stack_dir"
  exec 9>"$stack_dir/lock"
  flock -w 300 9 || fail "another scripts/stack is at work on $stack_dir"
}

# Starts servers side by side; fails if one of them does not come to answer.
start_all() {
  local name pid failed=0
  local -a pids=()
  for name in "$@"; do
    start_server "$name" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
  done
  return $failed
}

choose_brokers() {
  [[ $1 == [13] ]] || fail "--brokers $1: 1 or 3"
  [[ $1 == "$(kafka_brokers)" ]] && return
  local node
  for node in 1 2 3; do
    ! running_pid "kafka-$node" >/dev/null ||
      fail "Kafka runs with $(kafka_brokers) broker(s); scripts/stack down kafka comes before --brokers $1"
  done
  echo "$1" >"$stack_dir/brokers"
}

stack_up() {
  local since=$EPOCHREALTIME list
  local -a chosen=() servers
  take_lock
  while (($#)); do
    case $1 in
      --brokers) choose_brokers "${2:-}"; shift ;;
      --brokers=*) choose_brokers "${1#*=}" ;;
      -*) fail "up: unknown option $1" ;;
      *) chosen+=("$1") ;;
    esac
    shift
  done
  list=$(names "${chosen[@]}")
  mapfile -t servers <<<"$list"
  stack_fetch "${chosen[@]}"
  start_all "${servers[@]}" || fail "not everything is up"
  echo "up after $(seconds_between "$since" "$EPOCHREALTIME") s; data and logs in $stack_dir"
  echo "lcd uses it with this configuration (scripts/stack config):"
  echo
  stack_config | sed 's/^/    /'
}

stack_fetch() {
  local list
  list=$(names "$@")
  local -a more=()
  (($#)) || more=(proxies)
  # shellcheck disable=SC2046,SC2086 # one word a kind
  fetch $(kinds $list) "${more[@]}"
}

stack_start() {
  (($#)) || fail "start: which server?"
  take_lock
  local list
  list=$(names "$@")
  # shellcheck disable=SC2086 # one word a server
  start_all $list || fail "not everything is up"
}

stack_stop() {
  (($#)) || fail "stop: which server?"
  stack_down "$@"
}

stack_down() {
  local wipe='' list name
  local -a chosen=()
  for name in "$@"; do
    case $name in
      --wipe) wipe=yes ;;
      -*) fail "down: unknown option $name" ;;
      *) chosen+=("$name") ;;
    esac
  done
  [[ -d $stack_dir ]] || return 0
  take_lock
  list=$(names "${chosen[@]}")
  for name in $list; do
    stop_server "$name" &
  done
  wait
  [[ -z $wipe ]] || wipe_data "$list" "${#chosen[@]}"
}

# Deletes the data of these servers; everything, if none was named.
wipe_data() {
  local name
  if (($2 == 0)); then
    rm -rf "$stack_dir"/{data,conf,log,run,brokers}
  else
    for name in $1; do
      rm -rf "$stack_dir/data/$name" "$stack_dir"/data/kafka-of-*/"$name" "$(log_of "$name")"
    done
  fi
}

stack_kill() {
  (($# == 1 || $# == 2)) || fail "kill NAME [SIGNAL]"
  local list name pid signal=${2:-KILL}
  list=$(names "$1")
  for name in $list; do
    pid=$(running_pid "$name") || fail "$name does not run"
    signal_family "${signal#SIG}" "$pid"
    if [[ ${signal#SIG} == @(KILL|9) ]]; then
      while running_pid "$name" >/dev/null; do sleep 0.02; done
    fi
  done
}

stack_status() {
  local list name kind pid state bad=0 memory
  list=$(names "$@")
  for name in $list; do
    kind=${name%-*} state=down memory=
    if pid=$(running_pid "$name"); then
      memory="$(($(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status") / 1024)) MiB"
      if [[ $(process_facts "$pid") == T* ]]; then
        state=frozen
      elif "${kind}_answers" "$name" 2>/dev/null; then
        state=up
      else
        state=silent
      fi
    fi
    [[ $state == up ]] || bad=1
    printf '%-10s %-6s  127.0.0.1:%s  pid %-7s %s\n' "$name" "$state" "$("${kind}_port" "$name")" \
      "${pid:--}" "$memory"
  done
  return $bad
}

stack_logs() {
  local list name
  local -a files=() follow=()
  [[ ${1:-} != -f ]] || { follow=(-f); shift; }
  list=$(names "$@")
  for name in $list; do
    [[ ! -e $(log_of "$name") ]] || files+=("$(log_of "$name")")
  done
  ((${#files[@]})) || fail "no log yet in $stack_dir/log"
  tail -n 40 "${follow[@]}" -- "${files[@]}"
}

# The settings of lcd that use this stack.
stack_config() {
  local node brokers=""
  for ((node = 1; node <= $(kafka_brokers); node++)); do
    brokers+=${brokers:+, }'"'127.0.0.1:$(kafka_port "kafka-$node")'"'
  done
  cat <<TOML
[engines]
eventlog = "kafka"
bus = "redis"
registry = "redis"
recent = "redis"
reactions = "redis"
comments = "cassandra"
metadata = "postgres"

[kafka]
brokers = [$brokers]
[redis]
nodes = ["redis://127.0.0.1:$(redis_port redis-1)", "redis://127.0.0.1:$(redis_port redis-2)", "redis://127.0.0.1:$(redis_port redis-3)"]
[cassandra]
nodes = ["127.0.0.1:$(cassandra_port)"]
[postgres]
url = "postgres://lcd@127.0.0.1:$(postgres_port)/lcd"
TOML
}
