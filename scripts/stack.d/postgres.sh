# PostgreSQL: one server with user lcd and database lcd, every loopback connection trusted.
# It refuses to run as root; then it runs as its package's user.
# shellcheck shell=bash

postgres_port() { echo $((first_port + 10)); }

# Fast shutdown: sessions are ended, the data is flushed.
postgres_stop_signal() { echo INT; }

# The newest server's programs, which Debian keeps off the path.
postgres_bin() {
  local -a found
  mapfile -t found < <(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V)
  ((${#found[@]})) && dirname "${found[-1]}"
}

# What to put before a command, one word a line: nothing for a normal user. Root's directories may be
# closed to others; the right to pass them is handed on, and no other.
postgres_as() {
  ((EUID == 0)) || return 0
  local -a as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  "${as[@]}" test -x "$stack_dir/data/postgres" 2>/dev/null ||
    as+=('--inh-caps=-all,+dac_override' '--ambient-caps=-all,+dac_override')
  printf '%s\n' "${as[@]}"
}

# A server that was killed stays in its lock file, and PostgreSQL takes it for alive until its parent has
# reaped it, which some containers' first process never does. Shared memory that a process still
# holds keeps guarding the data.
postgres_forget_the_dead() {
  local lock=$1/postmaster.pid pid
  { read -r pid <"$lock"; } 2>/dev/null || return 0
  [[ $(process_facts "$pid") != Z* ]] || rm -f "$lock"
}

postgres_prepare() {
  local data=$stack_dir/data/postgres bin
  bin=$(postgres_bin) || return
  mkdir -p "$data"
  ((EUID != 0)) || chown postgres:postgres "$data"
  chmod 700 "$data"
  if [[ ! -e $data/PG_VERSION ]]; then
    local -a as
    mapfile -t as < <(postgres_as)
    "${as[@]}" "$bin/initdb" --pgdata="$data" --username=lcd --auth=trust --encoding=UTF8 --locale=C --no-sync || return
  fi
  postgres_forget_the_dead "$data"
  fill "$templates/postgresql.conf" "$stack_dir/conf/postgresql.conf" "PORT=$(postgres_port)"
  chmod 644 "$stack_dir/conf/postgresql.conf"
}

postgres_command() {
  postgres_as
  printf '%s\n' "$(postgres_bin)/postgres" -D "$stack_dir/data/postgres" \
    -c "config_file=$stack_dir/conf/postgresql.conf" \
    -c "hba_file=$stack_dir/data/postgres/pg_hba.conf" -c "ident_file=$stack_dir/data/postgres/pg_ident.conf"
}

postgres_query() {
  PGCONNECT_TIMEOUT=2 timeout 4 psql -X -q -A -t -h 127.0.0.1 -p "$(postgres_port)" -U lcd -d "$1" -c "$2"
}

# The database is made by the first question after the cluster's creation.
postgres_answers() {
  postgres_query lcd 'select 1' >/dev/null 2>&1 && return
  postgres_query postgres 'create database lcd' >/dev/null 2>&1
}
