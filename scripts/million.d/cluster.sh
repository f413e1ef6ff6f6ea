# The servers, the core and the edges: started, asked, taken down.
# shellcheck shell=bash disable=SC2154

# Edges that start side by side.
starting_edges=6
# Who reads goes before who writes: what is written and not yet read takes a page of the kernel's memory
# for each viewer, and of that there is a limit (net.ipv4.tcp_mem).
edge_nice=${LC_MILLION_EDGE_NICE:-10}

edge_stop_signal() { echo TERM; }
core_stop_signal() { echo TERM; }
# At once: its processes end with it, and their connections with them.
generator_stop_signal() { echo KILL; }

# Words on standard output say that it is ready; the log has both outputs.
edge_answers() { grep -qs '^lcd .* is ready' "$(log_of "$1")"; }
core_answers() { edge_answers "$1"; }

stack() { LC_STACK_DIR=$stack_dir/stack LC_STACK_PORT=$first_port "$repository/scripts/stack" "$@"; }

core_socket() { echo "$stack_dir/data/core/admin.sock"; }
edge_port() { echo $((first_port + 100 + $1)); }
edge_name() { printf 'edge-%03d' "$1"; }

lay_out_run() {
  ! running_pid core >/dev/null || fail "a run is going on in $stack_dir"
  rm -rf "$stack_dir"/{run,log,data,marks,samples,shortfalls,processes,seen,loadgen.json,loadgen.err,core.err}
  mkdir -p "$stack_dir"/{run,log,data}
  : >"$stack_dir/marks"
  (umask 077 && head -c 48 /dev/urandom | base64 -w 0 >"$stack_dir/data/signing.key")
  write_config >"$stack_dir/lcd.toml"
}

# The same for all processes; what differs is given to each at its start.
write_config() {
  cat <<TOML
[engines]
eventlog = "kafka"
bus = "redis"
registry = "redis"
recent = "redis"
reactions = "redis"
comments = "postgres"
metadata = "postgres"

[kafka]
brokers = ["127.0.0.1:$((first_port + 20))"]
# One stream is one partition; others would only have to be watched.
partitions = { comment_events = 1, moderation_events = 1, analytics_events = 1, ws_messages = 1, dead_letters = 1 }

[redis]
nodes = ["redis://127.0.0.1:$((first_port + 1))"]

[postgres]
url = "postgres://lcd@127.0.0.1:$((first_port + 10))/lcd"
# Of each process; the server has 200 for all.
max_connections = 2

[auth]
signing_key = "$stack_dir/data/signing.key"

[gateway]
# Viewers who come by the thousand a second to a busy processor wait.
handshake_timeout = "30s"
ping_interval = "${ping_s}s"
idle_timeout = "$((3 * ping_s))s"

[delivery]
# An edge is one of many on these processors.
workers = 1
# A message to everybody each time somebody comes would be a million while a million come.
presence_interval = "24h"
TOML
}

start_cluster() {
  say "starting Redis, PostgreSQL and Kafka"
  stack up redis-1 postgres kafka >"$stack_dir/log/stack.log" 2>&1 || {
    tail -n 20 "$stack_dir/log/stack.log" >&2
    fail "the servers do not start"
  }
  say "starting the core and $edges edges"
  start_process core coordinator,moderator,archiver $((first_port + 100)) 8 0
  await core || fail "the core does not start"
  local edge
  for ((edge = 1; edge <= edges; edge++)); do
    start_process "$(edge_name "$edge")" edge "$(edge_port "$edge")" 2 "$edge_nice"
    ((edge % starting_edges)) || await_edges $((edge - starting_edges + 1)) "$edge"
  done
  await_edges $((edges - edges % starting_edges + 1)) "$edges"
}

start_process() {
  local name=$1 roles=$2 port=$3 database_connections=$4 nice=$5
  spawn "$name" env LCD_NODE__NAME="$name" LCD_POSTGRES__MAX_CONNECTIONS="$database_connections" \
    TOKIO_WORKER_THREADS=1 RUST_LOG="${RUST_LOG:-warn}" \
    nice -n "$nice" "$bin/lcd" --config "$stack_dir/lcd.toml" --roles "$roles" --listen "127.0.0.1:$port" \
    --data-dir "$stack_dir/data/$name"
}

await_edges() {
  local edge
  for ((edge = $1; edge <= $2; edge++)); do
    await "$(edge_name "$edge")" || fail "an edge does not start"
  done
}

# Connections and comments delivered, summed over all edges: from what each tells the others every second.
totals() {
  local workers
  workers=$("$bin/lc" --socket "$(core_socket)" --json workers 2>>"$stack_dir/core.err") || workers=
  awk -v RS='[,{}\n]' -F: '
    $1 == "\"connections\"" { connections += $2 }
    $1 == "\"delivered\"" { delivered += $2 }
    END { printf "%d %d\n", connections, delivered }' <<<"$workers"
}

# Everything that runs, the viewers first.
take_down() {
  trap '' INT TERM
  local name pidfile
  [[ -d $stack_dir/run ]] || return 0
  say "taking everything down"
  for name in sampler watcher; do
    pidfile=$stack_dir/run/$name.pid
    [[ ! -e $pidfile ]] || stop_helper "$name"
  done
  stop_server generator >/dev/null
  for pidfile in "$stack_dir"/run/{edge-*,core}.pid; do
    [[ -e $pidfile ]] || continue
    stop_server "$(basename "$pidfile" .pid)" >/dev/null &
  done
  wait
  stack down --wipe >/dev/null
}

# A part of this script that runs beside it.
stop_helper() {
  local pid
  ! pid=$(running_pid "$1") || signal_family TERM "$pid"
  rm -f "$stack_dir/run/$1.pid"
}

# Has a process found again by name.
keep_pid() {
  local started
  read -r _ _ started < <(process_facts "$2") || started=0
  echo "$2 $started" >"$stack_dir/run/$1.pid"
}

# Starts a function of this script beside it.
run_beside() {
  local name=$1
  shift
  "$@" &
  keep_pid "$name" $!
}
