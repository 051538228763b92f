#!/usr/bin/env bash
# Prints the directory of Apache Kafka's jars; Maven fetches them there the first time. Used by
# services.sh and by tests that start a Kafka of their own, so that both run the same one.
set -euo pipefail

readonly state="${XDG_STATE_HOME:-/tmp}/millrace-services"
readonly libraries=$state/kafka-libraries
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$state"
if [[ ! -s $libraries/complete ]]; then
  exec 8>"$state/kafka-libraries.lock"
  flock 8 # several at once would write the same files
fi
if [[ ! -s $libraries/complete ]]; then
  command -v mvn >/dev/null || {
    echo 'services: install maven first, which fetches Apache Kafka (Debian: apt install maven)' >&2
    exit 1
  }
  echo 'services: fetching Apache Kafka from Maven Central' >&2
  rm -rf "$libraries"
  mvn --quiet --batch-mode --file "$here/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$libraries" -DincludeScope=runtime >&2 || {
    echo 'services: Maven could not fetch Apache Kafka' >&2
    exit 1
  }
  date >"$libraries/complete"
fi
printf '%s\n' "$libraries"
