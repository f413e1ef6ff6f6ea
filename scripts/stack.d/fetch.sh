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
        [[ -d $(jars_of "$kind") ]] || command -v mvn >/dev/null || echo maven
        ;;
      # tests/viewers/proxy.rs starts them itself.
      proxies)
        [[ -x /usr/sbin/haproxy ]] || echo haproxy
        [[ -x /usr/sbin/nginx ]] || echo nginx-light
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
log=$(mktemp)
trap 'rm -f "$log" "${undo[@]}"' EXIT
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
{
  apt-get update -q
  apt-get install -yq --no-install-recommends "$@"
} >"$log" 2>&1 </dev/null || {
  tail -n 20 "$log" >&2
  exit 1
}
ROOT
}

# Where the jars of a server are: a directory for each text of its pom, so that a new version leaves
# what runs alone. It is there when it is complete.
jars_of() { echo "$cache/$1-$(sha256sum <"$templates/$1/pom.xml" | cut -c 1-12)"; }

dependency_plugin=3.8.1

fetch_jars() {
  local kind=$1 to java partial
  to=$(jars_of "$kind")
  echo "resolving the jars of $kind into $to"
  mkdir -p "$cache"
  partial=$(mktemp -d "$cache/partial.XXXXXX")
  java=$(java_17)
  JAVA_HOME=${java%/bin/java} mvn -q -B -C -Dstyle.color=never -f "$templates/$kind/pom.xml" \
    "org.apache.maven.plugins:maven-dependency-plugin:$dependency_plugin:copy-dependencies" \
    -DincludeScope=runtime -DoutputDirectory="$partial" || {
    rm -rf "$partial"
    fail "Maven could not resolve the jars of $kind (it asks repo.maven.apache.org unless ~/.m2/settings.xml names a mirror)"
  }
  # Another fetch may have been faster.
  mv -T "$partial" "$to" 2>/dev/null || rm -rf "$partial"
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
      [[ -d $(jars_of "$kind") ]] || fetch_jars "$kind"
    fi
  done
}
