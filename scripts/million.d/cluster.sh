# Starts, queries and stops the servers, the core and the edges.
# shellcheck shell=bash disable=SC2154

# Edges that start at the same time.
starting_edges=6
# Readers run before writers: data that is written and not yet read takes a page of the kernel's memory
# per viewer, and that memory is limited (net.ipv4.tcp_mem).
edge_nice=${LC_MILLION_EDGE_NICE:-10}

edge_stop_signal() { echo TERM; }
core_stop_signal() { echo TERM; }
# Ends at once, with its worker processes and their connections.
generator_stop_signal() { echo KILL; }

# A line on standard output says that the process is ready. The log has both outputs.
edge_answers() { grep -qs '^lcd .* is ready' "$(log_of "$1")"; }
core_answers() { edge_answers "$1"; }

stack() { LC_STACK_DIR=$stack_dir/stack LC_STACK_PORT=$first_port "$repository/scripts/stack" "$@"; }

core_socket() { echo "$stack_dir/data/core/admin.sock"; }
edge_port() { echo $((first_port + 100 + $1)); }
edge_name() { printf 'edge-%03d' "$1"; }

lay_out_run() {
  ! running_pid core >/dev/null || fail "another run is active in $stack_dir"
  rm -rf "$stack_dir"/{run,log,data,marks,samples,facts,shortfalls,processes,seen,loadgen.json,loadgen.err,core.err}
  mkdir -p "$stack_dir"/{run,log,data}
  : >"$stack_dir/marks"
  (umask 077 && head -c 48 /dev/urandom | base64 -w 0 >"$stack_dir/data/signing.key")
  write_config >"$stack_dir/lcd.toml"
}

# One file for all processes. Settings that differ are passed at the start of each process.
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
# One stream uses one partition. More partitions would only add work.
partitions = { comment_events = 1, moderation_events = 1, ws_messages = 1, dead_letters = 1 }

[redis]
nodes = ["redis://127.0.0.1:$((first_port + 1))"]

[postgres]
url = "postgres://lcd@127.0.0.1:$((first_port + 10))/lcd"
# Per process. The server allows 200 in total.
max_connections = 2

[auth]
signing_key = "$stack_dir/data/signing.key"

[gateway]
# Thousands of viewers per second on a busy processor have to wait.
handshake_timeout = "30s"
ping_interval = "${ping_s}s"
idle_timeout = "$((3 * ping_s))s"

[delivery]
# Many edges share these processors.
workers = 1
# Otherwise every viewer would receive a message each time another one connects.
presence_interval = "24h"
TOML
}

start_cluster() {
  say "starting Redis, PostgreSQL and Kafka"
  stack up redis-1 postgres kafka >"$stack_dir/log/stack.log" 2>&1 || {
    tail -n 20 "$stack_dir/log/stack.log" >&2
    fail "the servers did not start"
  }
  say "starting the core and $edges edges"
  start_process core coordinator,moderator,archiver $((first_port + 100)) 8 0
  await core || fail "the core did not start"
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
    await "$(edge_name "$edge")" || fail "an edge did not start"
  done
}

# Prints the connections and the delivered comments of all edges. Each edge reports them every second.
totals() {
  local workers
  workers=$("$bin/lc" --socket "$(core_socket)" --json workers 2>>"$stack_dir/core.err") || workers=
  jq -rs '"\(map(.connections) | add // 0) \(map(.delivered) | add // 0)"' <<<"$workers"
}

# Stops everything that runs, the viewers first.
take_down() {
  trap '' INT TERM
  local name pidfile
  [[ -d $stack_dir/run ]] || return 0
  say "stopping everything"
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

# Stops a part of this script that runs in the background.
stop_helper() {
  local pid
  ! pid=$(running_pid "$1") || signal_family TERM "$pid"
  rm -f "$stack_dir/run/$1.pid"
}

# Records a process under a name.
keep_pid() {
  local started
  read -r _ _ started < <(process_facts "$2") || started=0
  echo "$2 $started" >"$stack_dir/run/$1.pid"
}

# Runs a function of this script in the background.
run_in_background() {
  local name=$1
  shift
  "$@" &
  keep_pid "$name" $!
}
