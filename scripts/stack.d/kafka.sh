# Kafka in KRaft mode, each node broker and controller: one, or three with --brokers 3. Clusters of
# either size keep data of their own.
# shellcheck shell=bash

# Any 16 bytes in base64 do.
kafka_cluster_id=bGMtc3RhY2sta2Fma2EtMQ

kafka_brokers() { cat "$stack_dir/brokers" 2>/dev/null || echo 1; }

kafka_port() { echo $((first_port + 19 + ${1#kafka-})); }

kafka_stop_signal() { echo TERM; }

kafka_data() { echo "$stack_dir/data/kafka-of-$(kafka_brokers)/$1"; }

# G1's threads stop each other on a machine of two cores: its pauses were up to 270 ms, every two seconds,
# at 1 000 comments/s. One thread and a large young generation pause seldom and shortly.
kafka_java() {
  printf '%s\n' "$(java_17)" -Xms512m -Xmx512m -Xmn320m -XX:+UseSerialGC -Djava.awt.headless=true \
    "-Dlog4j2.configurationFile=$templates/kafka/log4j2.properties" -cp "$(jars_of kafka)/*"
}

kafka_prepare() {
  local name=$1 brokers voters="" node data conf
  brokers=$(kafka_brokers)
  data=$(kafka_data "$name")
  conf=$stack_dir/conf/$name.properties
  for ((node = 1; node <= brokers; node++)); do
    voters+=${voters:+,}$node@127.0.0.1:$((first_port + 29 + node))
  done
  fill "$templates/kafka/server.properties" "$conf" "NODE=${name#kafka-}" "VOTERS=$voters" \
    "PORT=$(kafka_port "$name")" "CONTROLLER_PORT=$((first_port + 29 + ${name#kafka-}))" "DATA=$data" \
    "REPLICAS=$brokers" "IN_SYNC=$((brokers > 1 ? 2 : 1))" \
    "SESSION_MS=$((brokers > 1 ? 2000 : 30000))"
  [[ -z ${LC_STACK_KAFKA:-} ]] || cat "$LC_STACK_KAFKA" >>"$conf"
  if [[ ! -e $data/meta.properties ]]; then
    mkdir -p "$data"
    local -a java
    mapfile -t java < <(kafka_java)
    "${java[@]}" kafka.tools.StorageTool format -t "$kafka_cluster_id" -c "$conf" || return
  fi
}

kafka_command() {
  kafka_java
  printf '%s\n' kafka.Kafka "$stack_dir/conf/$1.properties"
}

kafka_answers() { timeout 3 "$parts/probe" kafka "$(kafka_port "$1")"; }
