#!/usr/bin/env bash
# Outside servers for tests and trials, on machines without a container engine (else: compose.yaml).
#
#   eval "$(scripts/services.sh up postgres)"     start, then set DATABASE_URL in this shell
#   scripts/services.sh up [postgres redis rabbitmq kafka kafka-cluster]
#   scripts/services.sh down [postgres redis rabbitmq kafka kafka-cluster]
#
#   postgres        DATABASE_URL        15 or newer, of the distribution
#   redis           REDIS_URL
#   rabbitmq        AMQP_URL
#   kafka           KAFKA_URL           one node of Apache Kafka; MILLRACE_KAFKA_NODES=3: three
#   kafka-cluster   KAFKA_CLUSTER_URL   three nodes beside that one; only when named
#
# Servers come from Debian packages, installed when missing; Apache Kafka, which has none, comes from
# Maven Central (kafka/kafka.sh). They listen on 127.0.0.1 only, each but Kafka with a password of
# its own, data below ${XDG_STATE_HOME:-/tmp}/millrace-services and fsync on. `up` twice is `up`
# once; `down` stops what `up` started, nothing else, and keeps the data; `down kafka` stops all its
# nodes. Standard output carries shell lines only; everything for people goes to standard error.
set -euo pipefail

readonly state="${XDG_STATE_HOME:-/tmp}/millrace-services"
readonly all_services=(postgres redis rabbitmq kafka)
readonly scripts=$(cd "$(dirname "$0")" && pwd)

# What is printed goes to 3; a server must inherit neither it nor the lock (9), or who waits for the
# end of our output would wait for the server.
exec 3>&1 1>&2

say() { printf 'services: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  printf 'usage: scripts/services.sh up|down [postgres redis rabbitmq kafka kafka-cluster]\n' >&2
  exit 2
}

# The user that a server runs as: its package's own when we are root, else ourselves.
user_of() {
  if [[ $EUID -eq 0 ]]; then echo "$1"; else id -un; fi
}

run_as() {
  local user=$1
  shift
  if [[ $EUID -eq 0 ]]; then
    runuser -u "$user" -- "$@"
  else
    "$@"
  fi
}

install_packages() {
  command -v apt-get >/dev/null || die "install $* first: this system has no apt-get"
  local sudo=()
  if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || die "run as root once, or install: $*"
    sudo=(sudo)
  fi
  say "installing $*"
  # Debian starts a server when it is installed, on its usual port; this file forbids it meanwhile.
  local policy=/usr/sbin/policy-rc.d made_policy=''
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
    "${sudo[@]}" chmod +x "$policy"
    made_policy=yes
  fi
  local failed=''
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq 3>&- 9>&- || failed=yes
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 3>&- 9>&- || failed=yes
  if [[ -n $made_policy ]]; then "${sudo[@]}" rm -f "$policy"; fi
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || die "installing $package failed${failed:+, see above}"
  done
}

# A directory that belongs to the server's user and that it can reach.
make_home() {
  local name=$1 user=$2
  local home=$state/$name
  mkdir -p "$home"
  if [[ $EUID -eq 0 ]]; then chown "$user:" "$home"; fi
  chmod 700 "$home"
  run_as "$user" test -w "$home" ||
    die "user $user cannot reach $home: set XDG_STATE_HOME to a directory everybody may enter"
}

is_listening() { (exec 4<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The port this service used before, else the wanted one, else the next free one.
choose_port() {
  local name=$1 port=$2
  if [[ -s $state/$name.port ]]; then port=$(<"$state/$name.port"); fi
  local last=$((port + 20))
  while is_listening "$port"; do
    port=$((port + 1))
    [[ $port -lt $last ]] || die "no free port for $name up to $last"
  done
  printf '%s\n' "$port" >"$state/$name.port"
  printf '%s\n' "$port"
}

password_of() {
  local file=$state/$1.password
  if [[ ! -s $file ]]; then
    (umask 077 && od -An -N18 -tx1 /dev/urandom | tr -d ' \n' >"$file")
  fi
  cat "$file"
}

# True when the pid in the file is alive and is that program: pids are used again.
is_running() {
  local file=$1 program=$2 pid
  [[ -s $file ]] || return 1
  pid=$(head -n 1 "$file")
  [[ $pid =~ ^[0-9]+$ ]] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q -- "$program"
}

wait_until() {
  local what=$1 log=$2
  shift 2
  local deadline=$((SECONDS + 60))
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      tail -n 20 "$log" || true
      die "$what is not ready after 60 s; its log is $log"
    fi
    sleep 0.1
  done
}

# --- postgres ----------------------------------------------------------------------------------

postgres_bin() {
  local directory
  for directory in /usr/lib/postgresql/*/bin; do
    local version=${directory#/usr/lib/postgresql/}
    if [[ ${version%/bin} -ge 15 && -x $directory/postgres ]]; then
      printf '%s\n' "$directory"
      return
    fi
  done
}

up_postgres() {
  local bin home=$state/postgres user port
  bin=$(postgres_bin)
  if [[ -z $bin ]]; then
    install_packages postgresql-15
    bin=$(postgres_bin)
  fi
  user=$(user_of postgres)
  make_home postgres "$user"
  if ! is_running "$home/data/postmaster.pid" postgres; then
    # Left by a killed server: their pid may be a zombie, or another process by now.
    rm -f "$home/data/postmaster.pid" "$home"/.s.PGSQL.*
    make_cluster "$bin" "$user" "$home"
    port=$(choose_port postgres "${MILLRACE_POSTGRES_PORT:-5433}")
    local options="-c port=$port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$home"
    options+=" -c max_connections=200 -c max_wal_size=2GB -c checkpoint_timeout=15min -c fsync=on"
    run_as "$user" "$bin/pg_ctl" start --silent --wait --timeout=60 --pgdata="$home/data" \
      --log="$home/log" --options="$options" </dev/null 3>&- 9>&- ||
      {
        tail -n 20 "$home/log"
        die "postgres did not start; its log is $home/log"
      }
  fi
  port=$(<"$state/postgres.port")
  say "postgres is ready on 127.0.0.1:$port"
  printf 'export DATABASE_URL=%q\n' \
    "postgres://postgres:$(password_of postgres)@127.0.0.1:$port/postgres" >&3
}

make_cluster() {
  local bin=$1 user=$2 home=$3
  if [[ -s $home/data/PG_VERSION ]]; then
    local made have
    made=$(<"$home/data/PG_VERSION")
    have=${bin#/usr/lib/postgresql/}
    [[ $made == "${have%/bin}" ]] || die "$home/data is of postgres $made: remove it"
    return
  fi
  rm -rf "$home/data" # half made
  password_of postgres | run_as "$user" tee "$home/password" >/dev/null
  run_as "$user" "$bin/initdb" --pgdata="$home/data" --username=postgres --no-locale \
    --encoding=UTF8 --auth=scram-sha-256 --pwfile="$home/password" \
    >"$home/initdb.log" 2>&1 3>&- 9>&- || {
    cat "$home/initdb.log"
    die 'initdb failed'
  }
  rm -f "$home/password"
}

down_postgres() {
  local home=$state/postgres user
  is_running "$home/data/postmaster.pid" postgres || return 0
  user=$(user_of postgres)
  run_as "$user" "$(postgres_bin)/pg_ctl" stop --silent --wait --mode=fast --pgdata="$home/data"
  say 'postgres is stopped'
}

# --- redis -------------------------------------------------------------------------------------

up_redis() {
  local home=$state/redis user port
  command -v redis-server >/dev/null || install_packages redis-server
  user=$(user_of redis)
  make_home redis "$user"
  if ! is_running "$home/pid" redis-server; then
    port=$(choose_port redis "${MILLRACE_REDIS_PORT:-6380}")
    write_redis_config "$home" "$port" | run_as "$user" tee "$home/redis.conf" >/dev/null
    run_as "$user" redis-server "$home/redis.conf" </dev/null 3>&- 9>&-
  fi
  port=$(<"$state/redis.port")
  wait_until redis "$home/log" \
    env REDISCLI_AUTH="$(password_of redis)" redis-cli -h 127.0.0.1 -p "$port" --no-auth-warning get x
  say "redis is ready on 127.0.0.1:$port"
  printf 'export REDIS_URL=%q\n' "redis://default:$(password_of redis)@127.0.0.1:$port/0" >&3
}

write_redis_config() {
  local home=$1 port=$2
  cat <<CONFIG
bind 127.0.0.1
port $port
requirepass $(password_of redis)
daemonize yes
pidfile $home/pid
logfile $home/log
dir $home
# An acknowledged write is on disk, and nothing is evicted.
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
CONFIG
}

down_redis() {
  local home=$state/redis
  is_running "$home/pid" redis-server || return 0
  kill -TERM "$(<"$home/pid")"
  while is_running "$home/pid" redis-server; do sleep 0.05; done
  say 'redis is stopped'
}

# --- rabbitmq ----------------------------------------------------------------------------------

# The port mapper is our own, on a port of its own, so that it may be stopped with the server.
readonly epmd_port=4371

# Sets `rabbitmq`: the command that runs a program of the package as the right user and node.
prepare_rabbitmq() {
  local home=$state/rabbitmq port
  port=$(<"$state/rabbitmq.port")
  rabbitmq=()
  if [[ $EUID -eq 0 ]]; then rabbitmq=(runuser -u rabbitmq --); fi
  rabbitmq+=(
    env
    HOME="$home"
    RABBITMQ_NODENAME=millrace@localhost
    RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
    RABBITMQ_NODE_PORT="$port"
    RABBITMQ_DIST_PORT=$((port + 20000))
    RABBITMQ_CONF_ENV_FILE=/dev/null
    RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf"
    RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins"
    RABBITMQ_MNESIA_BASE="$home/mnesia"
    RABBITMQ_LOG_BASE="$home"
    RABBITMQ_PID_FILE="$home/pid"
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
    ERL_EPMD_ADDRESS=127.0.0.1
    ERL_EPMD_PORT="$epmd_port"
    PATH="/usr/lib/rabbitmq/bin:$PATH"
  )
}

up_rabbitmq() {
  local home=$state/rabbitmq user rabbitmq
  [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || install_packages rabbitmq-server
  user=$(user_of rabbitmq)
  make_home rabbitmq "$user"
  if ! is_running "$home/pid" "$home"; then
    choose_port rabbitmq "${MILLRACE_RABBITMQ_PORT:-5673}" >/dev/null
    printf 'default_user = millrace\ndefault_pass = %s\n' "$(password_of rabbitmq)" |
      run_as "$user" tee "$home/rabbitmq.conf" >/dev/null
    printf '[].\n' | run_as "$user" tee "$home/enabled_plugins" >/dev/null
    rm -f "$home/pid"
    prepare_rabbitmq
    # A session of its own: Ctrl-C in this terminal is not for the server.
    setsid "${rabbitmq[@]}" rabbitmq-server </dev/null >"$state/rabbitmq.console" 2>&1 3>&- 9>&- &
    disown
  fi
  prepare_rabbitmq
  local port
  port=$(<"$state/rabbitmq.port")
  wait_until rabbitmq "$state/rabbitmq.console" is_listening "$port"
  wait_until rabbitmq "$state/rabbitmq.console" "${rabbitmq[@]}" rabbitmqctl --quiet await_startup
  say "rabbitmq is ready on 127.0.0.1:$port"
  printf 'export AMQP_URL=%q\n' \
    "amqp://millrace:$(password_of rabbitmq)@127.0.0.1:$port" >&3
}

down_rabbitmq() {
  local home=$state/rabbitmq rabbitmq
  is_running "$home/pid" "$home" || return 0
  prepare_rabbitmq
  "${rabbitmq[@]}" rabbitmqctl --quiet stop "$home/pid"
  "${rabbitmq[@]}" epmd -kill >/dev/null || true
  say 'rabbitmq is stopped'
}

# shellcheck source=scripts/kafka/kafka.sh
source "$scripts/kafka/kafka.sh"

up_kafka_cluster() {
  # Its line says KAFKA_URL, which is the single node's name.
  MILLRACE_KAFKA_NODES=3 up_kafka 3>&1 1>&2 | sed 's/KAFKA_URL/KAFKA_CLUSTER_URL/' >&3
}

down_kafka_cluster() {
  local home pids=() pid
  for home in "$state"/kafka-3-*; do
    if is_running "$home/pid" kafka.Kafka; then pids+=("$(<"$home/pid")"); fi
  done
  # All at once: each hands its partitions to the others, and the last ones wait for nobody.
  if ((${#pids[@]} == 0)); then return; fi
  kill -TERM "${pids[@]}"
  local deadline=$((SECONDS + 20))
  for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do
      if ((SECONDS >= deadline)); then kill -KILL "$pid"; fi
      sleep 0.1
    done
  done
  say "${#pids[@]} nodes of the kafka cluster are stopped"
}

# --- all of them -------------------------------------------------------------------------------

main() {
  [[ $# -gt 0 ]] || usage
  local verb=$1 service
  shift
  [[ $verb == up || $verb == down ]] || usage
  local services=("$@")
  if [[ ${#services[@]} -eq 0 ]]; then services=("${all_services[@]}"); fi
  for service in "${services[@]}"; do
    case $service in
    postgres | redis | rabbitmq | kafka | kafka-cluster) ;;
    *) usage ;;
    esac
  done

  mkdir -p "$state"
  [[ -O $state ]] || die "$state belongs to somebody else: set XDG_STATE_HOME"
  exec 9>"$state/lock"
  flock 9 # two runs at once would start two servers on one directory
  cd "$state" # the servers' users may not be able to enter where we were called

  for service in "${services[@]}"; do "${verb}_${service//-/_}"; done
}

main "$@"
