# Redis: three nodes that know nothing of each other. Memory only, unless LC_STACK_APPENDONLY=yes.
# shellcheck shell=bash

redis_port() { echo $((first_port + ${1#redis-})); }

redis_stop_signal() { echo TERM; }

redis_prepare() {
  local data=$stack_dir/data/$1
  mkdir -p "$data"
  fill "$templates/redis.conf" "$stack_dir/conf/$1.conf" "PORT=$(redis_port "$1")" "DATA=$data" \
    "APPENDONLY=${LC_STACK_APPENDONLY:-no}"
}

redis_command() { printf '%s\n' redis-server "$stack_dir/conf/$1.conf"; }

redis_answers() { [[ $(timeout 2 redis-cli -h 127.0.0.1 -p "$(redis_port "$1")" ping 2>/dev/null) == PONG ]]; }
