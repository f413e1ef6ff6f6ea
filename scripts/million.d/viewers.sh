# The viewers: all but one in the load generator, and one by hand whose name is known and who is banned.
# shellcheck shell=bash disable=SC2154

banned_user=42
stream=1

# The comments, and the silences between them.
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
  say "connecting $viewers viewers, $connect_rate a second"
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

# Until all are connected, or no more come.
await_viewers() {
  local connections most=0 grew=$SECONDS said=$SECONDS
  while :; do
    generator_runs || generator_failed "the generator ended before all viewers were connected"
    banned_viewer_watches
    guard_memory
    read -r connections _ < <(totals)
    # The speaker is one more.
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

banned_viewer_watches() { ! has_seen closed || fail "the viewer who is to be banned lost its connection"; }

# The silence before the first comment, all but its end.
hold() {
  say "holding them for $hold_s s"
  local until=$((SECONDS + hold_s - 2))
  while ((SECONDS < until)) && ! has_seen comment; do
    generator_runs || generator_failed "the generator ended while it held the viewers"
    banned_viewer_watches
    sleep 0.2
  done
  read -r held_connections _ < <(totals)
}

# Until all viewers have got so many comments.
await_delivered() {
  local delivered deadline=$((SECONDS + 60 + $1 * gap_s))
  while :; do
    generator_runs || generator_failed "the generator ended before all comments had been sent"
    read -r _ delivered < <(totals)
    ((delivered < $1 * viewers)) || break
    guard_memory
    # The account will say what is missing.
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

# What the viewer by hand has seen, a line each: microseconds since 1970, what.
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
  run_beside watcher watch_by_hand "$token" "$(edge_port $(((edges + 1) / 2)))"
  until has_seen welcome; do
    ((SECONDS < deadline)) || fail "the viewer who is to be banned was not welcomed: $(tail -n 1 "$stack_dir/seen")"
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

# Reads messages of JSON, which end in a brace, and notes when each came.
watch_by_hand() {
  local LC_ALL=C part='' more closed='' sign_of_life_s=$((ping_s < 20 ? ping_s : 20))
  open_websocket "$1" "$2"
  while [[ -z $closed ]]; do
    if IFS= read -r -d '}' -t "$sign_of_life_s" -u 3 more; then
      note_message "$part$more"
      part=
    elif (($? > 128)); then
      part+=$more
      # A pong nobody asked for: this viewer lives. Its mask is four zeros.
      printf '\x8a\x80\x00\x00\x00\x00' >&3
    else
      closed=yes
    fi
  done
  note closed
}

note() { echo "${EPOCHREALTIME/[.,]/} $1" >>"$stack_dir/seen"; }

note_message() {
  case $1 in
    *'"type":"welcome"'*) note welcome ;;
    *'"type":"bye"'*'"banned"'*) note banned ;;
    *'"comment_id"'*'for everybody who watches'*) note comment ;;
    "HTTP/1.1 "[45]*) note "refused" ;;
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
  say "the ban was with its user after ${ban_ms:-more than 20 000} ms"
  try_again
}

# How the banned viewer is received when it comes back: "refused", with what, or "welcome".
try_again() {
  local token
  token=$("$bin/lc" --socket "$(core_socket)" token --user "$banned_user" --name victim) || token=
  second_attempt=$(reception "$token" "$(edge_port 1)") || true
}

# The end of the handshake's answer or the first message after it, whichever decides.
reception() {
  local LC_ALL=C status head more=''
  open_websocket "$1" "$2"
  IFS= read -r -t 5 -u 3 status || return
  [[ $status == *' 101 '* ]] || { echo "refused with $(cut -d ' ' -f 2 <<<"$status")"; return; }
  until [[ ${head-x} == $'\r' ]]; do IFS= read -r -t 5 -u 3 head || return; done
  IFS= read -r -d '}' -t 5 -u 3 more || true
  case $more in
    *'"type":"welcome"'*) echo welcome ;;
    *'"banned"'*) echo "refused as banned" ;;
    *) echo "closed without a word" ;;
  esac
}
