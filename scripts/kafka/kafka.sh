# shellcheck shell=bash disable=SC2154,SC2178,SC2128,SC2016
# Apache Kafka in KRaft mode for services.sh, which sources this file: one node, or three that are
# broker and controller each; clusters of different sizes have data of their own. Every node listens
# on loopback only, flushes as Kafka does by default (replication is what its acknowledgement means),
# and keeps its data. Members of a group hear of each other in 0.3 s in place of 5, and a killed one
# is missed after 6 s in place of 45: tests wait for both.

kafka_nodes() { printf '%s\n' "${MILLRACE_KAFKA_NODES:-1}"; }

# Its jars, which Maven fetches once; libraries.sh can do without us, installing Maven it cannot.
kafka_libraries() {
  [[ -s $state/kafka-libraries/complete ]] || command -v mvn >/dev/null || install_packages maven
  "$scripts/kafka/libraries.sh" 3>&- 9>&- || die 'there is no Apache Kafka to start'
}

kafka_java() {
  local libraries=$1 home=$2
  shift 2
  java -Xms256m -Xmx512m -XX:+UseSerialGC -cp "$libraries/*" -Dkafka.logs.dir="$home" \
    -Dlog4j2.configurationFile="$scripts/kafka/log4j2.xml" "$@"
}

write_kafka_config() {
  local node=$1 home=$2 voters=$3 nodes=$4
  local port controller replicas=1
  port=$(<"$state/kafka-$nodes-$node.port")
  controller=$(<"$state/kafka-controller-$nodes-$node.port")
  if [[ $nodes -ge 3 ]]; then replicas=3; fi
  cat <<CONFIG
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$home/data
num.partitions=4
offsets.topic.replication.factor=$replicas
transaction.state.log.replication.factor=$replicas
default.replication.factor=$replicas
min.insync.replicas=$((replicas > 1 ? 2 : 1))
offsets.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
group.consumer.min.heartbeat.interval.ms=300
group.consumer.heartbeat.interval.ms=300
group.consumer.min.session.timeout.ms=6000
group.consumer.session.timeout.ms=6000
auto.create.topics.enable=false
CONFIG
}

up_kafka() {
  local nodes libraries node voters=() home
  nodes=$(kafka_nodes)
  command -v java >/dev/null || install_packages openjdk-17-jre-headless
  libraries=$(kafka_libraries)
  for ((node = 1; node <= nodes; node += 1)); do
    home=$state/kafka-$nodes-$node
    mkdir -p "$home"
    if ! is_running "$home/pid" kafka.Kafka; then
      choose_port "kafka-$nodes-$node" $((${MILLRACE_KAFKA_PORT:-9192} + node * 10)) >/dev/null
      choose_port "kafka-controller-$nodes-$node" $((${MILLRACE_KAFKA_PORT:-9192} + node * 10 + 5)) >/dev/null
    fi
    voters+=("$node@127.0.0.1:$(<"$state/kafka-controller-$nodes-$node.port")")
  done
  for ((node = 1; node <= nodes; node += 1)); do
    start_kafka_node "$libraries" "$node" "$(IFS=,; echo "${voters[*]}")" "$nodes"
  done
  local brokers=()
  for ((node = 1; node <= nodes; node += 1)); do
    home=$state/kafka-$nodes-$node
    wait_until "kafka node $node" "$home/log" grep -q 'Kafka Server started' "$home/log"
    brokers+=("127.0.0.1:$(<"$state/kafka-$nodes-$node.port")")
  done
  say "kafka is ready on ${brokers[*]}"
  printf 'export KAFKA_URL=%q\n' "kafka://$(IFS=,; echo "${brokers[*]}")" >&3
}

start_kafka_node() {
  local libraries=$1 node=$2 voters=$3 nodes=$4
  local home=$state/kafka-$nodes-$node
  if is_running "$home/pid" kafka.Kafka; then return; fi
  write_kafka_config "$node" "$home" "$voters" "$nodes" >"$home/server.properties"
  if [[ ! -s $home/data/meta.properties ]]; then
    kafka_java "$libraries" "$home" kafka.tools.StorageTool format --ignore-formatted \
      --cluster-id bWlsbHJhY2Utc2VydmljZQ --config "$home/server.properties" \
      </dev/null >"$home/format.log" 2>&1 3>&- 9>&- || {
      tail -n 20 "$home/format.log"
      die 'the storage of kafka could not be formatted'
    }
  fi
  : >"$home/log"
  # A session of its own: Ctrl-C in this terminal is not for the server.
  setsid bash -c 'echo $$ >"$1"; shift; exec "$@"' start "$home/pid" \
    java -Xms256m -Xmx512m -XX:+UseSerialGC -cp "$libraries/*" \
    -Dlog4j2.configurationFile="$scripts/kafka/log4j2.xml" \
    kafka.Kafka "$home/server.properties" </dev/null >"$home/log" 2>&1 3>&- 9>&- &
  disown
}

down_kafka() {
  local home
  for home in "$state"/kafka-[0-9]*-[0-9]*; do
    is_running "$home/pid" kafka.Kafka || continue
    kill -TERM "$(<"$home/pid")"
    local deadline=$((SECONDS + 20))
    while is_running "$home/pid" kafka.Kafka; do
      if ((SECONDS >= deadline)); then kill -KILL "$(<"$home/pid")"; fi
      sleep 0.1
    done
    say "kafka node ${home##*-} is stopped"
  done
}
