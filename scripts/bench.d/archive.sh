# Comments from Kafka into Cassandra, carried by the archiver, at rising rates. Uses a stack that is up;
# otherwise starts the two servers it needs and stops them at the end.
# shellcheck shell=bash disable=SC2154

if ! scripts/stack status kafka-1 cassandra >/dev/null 2>&1; then
  trap 'scripts/stack down kafka-1 cassandra >/dev/null' EXIT
  scripts/stack up kafka-1 cassandra >/dev/null
fi
cargo bench --quiet --locked --bench archive -- ${costs:+--costs "$costs"} "$@"
