# What the servers need: Debian's packages, and jars that Maven resolves once into the cache.
# shellcheck shell=bash

# The java of a JDK 17; Cassandra runs on no newer one.
java_17() {
  local home
  for home in "${LC_STACK_JAVA_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/*-17-* /usr; do
    [[ -n $home && -x $home/bin/java ]] || continue
    "$home/bin/java" -version 2>&1 | grep -q '"17[."]' && echo "$home/bin/java" && return
  done
  return 1
}

# The Debian packages that are missing for these kinds of server.
missing_packages() {
  local kind
  for kind in "$@"; do
    case $kind in
      redis) command -v redis-server redis-cli >/dev/null || echo redis-server ;;
      postgres)
        postgres_bin >/dev/null || echo postgresql
        command -v psql >/dev/null || echo postgresql-client
        ;;
      kafka | cassandra)
        java_17 >/dev/null || echo openjdk-17-jre-headless
        jars_are_there "$kind" || command -v mvn >/dev/null || echo maven
        ;;
    esac
  done | sort -u
}

# Installs packages without letting their services start: the stack's servers are its own.
install_packages() {
  echo "installing $*"
  local -a as_root=()
  command -v apt-get >/dev/null || fail "this is no Debian: install $* by hand"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "$* must be installed, and there is no sudo: ask root to"
    as_root=(sudo)
  fi
  "${as_root[@]}" bash -euo pipefail -s -- "$@" <<'ROOT' || fail "apt-get could not install $*"
policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/lc-stack.conf
undo=()
trap '((${#undo[@]})) && rm -f "${undo[@]}"' EXIT
if [[ ! -e $policy ]]; then
  undo+=("$policy")
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
# Nor is a database cluster made for the machine.
mkdir -p "${no_cluster%/*}"
undo+=("$no_cluster")
echo 'create_main_cluster = false' >"$no_cluster"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
apt-get install -yq --no-install-recommends "$@" >/dev/null </dev/null
ROOT
}

# The cache holds what this pom asks for.
jars_are_there() { cmp -s "$templates/$1/pom.xml" "$cache/$1/pom.xml"; }

fetch_jars() {
  local kind=$1 to=$cache/$1
  echo "resolving the jars of $kind into $to"
  rm -rf "$to"
  mkdir -p "$to"
  local java
  java=$(java_17)
  JAVA_HOME=${java%/bin/java} mvn -q -B -C -Dstyle.color=never -f "$templates/$kind/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$to/lib" ||
    fail "Maven could not resolve the jars of $kind (it asks repo.maven.apache.org unless ~/.m2/settings.xml names a mirror)"
  # Last, so that it stands for a complete directory.
  cp "$templates/$kind/pom.xml" "$to/pom.xml"
}

# Installs and downloads what is missing for these kinds of server; asks nobody if nothing is.
fetch() {
  local -a packages
  mapfile -t packages < <(missing_packages "$@")
  ((${#packages[@]} == 0)) || install_packages "${packages[@]}"
  local kind
  for kind in "$@"; do
    if [[ -e $templates/$kind/pom.xml ]]; then
      java_17 >/dev/null || fail "$kind needs a JDK 17; set LC_STACK_JAVA_HOME to one"
      jars_are_there "$kind" || fetch_jars "$kind"
    fi
  done
}
