# Cassandra: one node, native protocol only.
# shellcheck shell=bash

cassandra_port() { echo $((first_port + 40)); }

cassandra_stop_signal() { echo TERM; }

cassandra_prepare() {
  local data=$stack_dir/data/cassandra conf=$stack_dir/conf/cassandra lib
  lib=$(jars_of cassandra)
  mkdir -p "$conf" "$data"/{triggers,logs}
  fill "$templates/cassandra/cassandra.yaml" "$conf/cassandra.yaml" "PORT=$(cassandra_port)" \
    "STORAGE_PORT=$((first_port + 41))" "DATA=$data"
  fill "$templates/cassandra/jvm.options" "$conf/jvm.options" "LIB=$lib" "CONF=$conf" "DATA=$data" \
    "JMX_PORT=$((first_port + 42))"
  cp "$templates/cassandra/logback.xml" "$conf/logback.xml"
}

cassandra_command() {
  printf '%s\n' "$(java_17)" "@$stack_dir/conf/cassandra/jvm.options" -cp "$(jars_of cassandra)/*" \
    org.apache.cassandra.service.CassandraDaemon
}

cassandra_answers() { timeout 3 "$parts/probe" cassandra "$(cassandra_port)"; }
