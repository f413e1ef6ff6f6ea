# The viewers: all but one are in the load generator. The other one is this shell, and it is banned.
# shellcheck shell=bash disable=SC2154

banned_user=42
stream=1

# Prints the comments and their times.
write_recording() {
  local comment
  for ((comment = 0; comment < comments; comment++)); do
    printf '{"ts_ms":%d,"user":"speaker","text":"comment %d of %d, for everybody who watches"}\n' \
      $(((hold_s + comment * gap_s) * 1000)) $((comment + 1)) "$comments"
  done
}

start_generator() {
  local edge
  local -a urls=()
  for ((edge = 1; edge <= edges; edge++)); do
    urls+=("ws://127.0.0.1:$(edge_port "$edge")")
  done
  write_recording >"$stack_dir/recording.jsonl"
  say "connecting $viewers viewers, $connect_rate per second"
  setsid "$bin/lc" --json loadgen --url "${urls[@]}" --stream "$stream" --viewers $((viewers - 1)) --senders 1 \
    --connect-rate "$connect_rate" ${processes:+--processes "$processes"} --signing-key "$stack_dir/data/signing.key" \
    --replay "$stack_dir/recording.jsonl" --grace "$((60 + 4 * gap_s))s" \
    </dev/null >"$stack_dir/loadgen.json" 2>"$stack_dir/loadgen.err" &
  generator=$!
  keep_pid generator "$generator"
}

generator_runs() { running_pid generator >/dev/null; }

generator_failed() {
  tail -n 5 "$stack_dir/loadgen.err" >&2
  fail "$1"
}

# Waits until all viewers are connected, or the number no longer grows.
await_viewers() {
  local connections most=0 grew=$SECONDS said=$SECONDS
  while :; do
    generator_runs || generator_failed "the generator ended before all viewers were connected"
    check_banned_viewer
    guard_memory
    read -r connections _ < <(totals)
    # The sender is one more connection.
    ((connections <= viewers)) || break
    if ((connections > most)); then
      most=$connections grew=$SECONDS
    elif ((SECONDS > grew + 15)); then
      break
    fi
    if ((SECONDS >= said + 10)); then
      said=$SECONDS
      say "$connections connected, $(gib $(($(meminfo_kib MemAvailable) * 1024))) of memory available"
    fi
    sleep 0.5
  done
  say "$((connections - 1)) viewers are connected"
}

check_banned_viewer() { ! has_seen closed || fail "the viewer to be banned lost its connection"; }

# Waits until shortly before the first comment.
hold() {
  say "holding them for $hold_s s"
  local until=$((SECONDS + hold_s - 2))
  while ((SECONDS < until)) && ! has_seen comment; do
    generator_runs || generator_failed "the generator ended while it held the viewers"
    check_banned_viewer
    sleep 0.2
  done
  read -r held_connections _ < <(totals)
}

# Waits until all viewers have received $1 comments.
await_delivered() {
  local delivered deadline=$((SECONDS + 60 + $1 * gap_s))
  while :; do
    generator_runs || generator_failed "the generator ended before all comments had been sent"
    read -r _ delivered < <(totals)
    ((delivered < $1 * viewers)) || break
    guard_memory
    # The report says what is missing.
    ((SECONDS < deadline)) || break
    sleep 0.5
  done
  say "$delivered deliveries of $1 comments"
}

await_generator() {
  local code=0
  wait "$generator" || code=$?
  rm -f "$stack_dir/run/generator.pid"
  ((code == 0)) || generator_failed "the generator ended with code $code"
  say "all comments are sent and accounted for"
}

# Returns whether the banned viewer has seen $1. The file `seen` has one line per event: microseconds since
# 1970, and what it was.
has_seen() {
  local what
  while read -r _ what; do
    [[ $what != "$1" ]] || return 0
  done <"$stack_dir/seen" 2>/dev/null
  return 1
}

seen_at() { awk -v what="$1" '$2 == what { print $1; exit }' "$stack_dir/seen"; }

connect_banned_viewer() {
  local token deadline=$((SECONDS + 10))
  token=$("$bin/lc" --socket "$(core_socket)" token --user "$banned_user" --name victim)
  : >"$stack_dir/seen"
  run_in_background watcher watch_websocket "$token" "$(edge_port $(((edges + 1) / 2)))"
  until has_seen welcome; do
    ((SECONDS < deadline)) || fail "the viewer to be banned got no welcome: $(tail -n 1 "$stack_dir/seen")"
    sleep 0.1
  done
}

# Opens a WebSocket on descriptor 3.
open_websocket() {
  local token=$1 port=$2
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf '%s\r\n' "GET /ws/$stream HTTP/1.1" "Host: 127.0.0.1:$port" "Upgrade: websocket" \
    "Connection: Upgrade" "Sec-WebSocket-Version: 13" "Sec-WebSocket-Key: dGhlIG9uZSB3aG8gZ29lcw==" \
    "Authorization: Bearer $token" "" >&3
}

# Reads JSON messages, which end in a brace, and records when each arrived.
watch_websocket() {
  local LC_ALL=C part='' more closed='' pong_interval_s=$((ping_s < 20 ? ping_s : 20))
  open_websocket "$1" "$2"
  while [[ -z $closed ]]; do
    if IFS= read -r -d '}' -t "$pong_interval_s" -u 3 more; then
      record_message "$part$more"
      part=
    elif (($? > 128)); then
      part+=$more
      # An unsolicited pong keeps the connection alive. Its mask is four zeros.
      printf '\x8a\x80\x00\x00\x00\x00' >&3
    else
      closed=yes
    fi
  done
  record closed
}

record() { echo "${EPOCHREALTIME/[.,]/} $1" >>"$stack_dir/seen"; }

record_message() {
  case $1 in
    *'"type":"welcome"'*) record welcome ;;
    *'"type":"bye"'*'"banned"'*) record banned ;;
    *'"comment_id"'*'for everybody who watches'*) record comment ;;
    "HTTP/1.1 "[45]*) record refused ;;
  esac
}

ban_viewer() {
  local since deadline
  say "banning user $banned_user"
  since=${EPOCHREALTIME/[.,]/}
  "$bin/lc" --socket "$(core_socket)" --json ban "$banned_user" --reason "scripts/million" >"$stack_dir/ban.json" ||
    say "the ban failed"
  ban_command_ms=$(((${EPOCHREALTIME/[.,]/} - since) / 1000))
  deadline=$((SECONDS + 20))
  until has_seen banned; do
    ((SECONDS < deadline)) || break
    sleep 0.05
  done
  ban_ms=
  ! has_seen banned || ban_ms=$((($(seen_at banned) - since) / 1000))
  say "the ban reached its user after ${ban_ms:-more than 20 000} ms"
  try_reconnect
}

# Connects the banned viewer again. Sets second_attempt to "welcome" or "refused …".
try_reconnect() {
  local token
  token=$("$bin/lc" --socket "$(core_socket)" token --user "$banned_user" --name victim) || token=
  second_attempt=$(connect_outcome "$token" "$(edge_port 1)") || true
}

# Prints the outcome of a connection, from the handshake response or the first message after it.
connect_outcome() {
  local LC_ALL=C status head more=''
  open_websocket "$1" "$2"
  IFS= read -r -t 5 -u 3 status || return
  [[ $status == *' 101 '* ]] || { echo "refused with $(cut -d ' ' -f 2 <<<"$status")"; return; }
  until [[ ${head-x} == $'\r' ]]; do IFS= read -r -t 5 -u 3 head || return; done
  IFS= read -r -d '}' -t 5 -u 3 more || true
  case $more in
    *'"type":"welcome"'*) echo welcome ;;
    *'"banned"'*) echo "refused as banned" ;;
    *) echo "closed without a message" ;;
  esac
}
