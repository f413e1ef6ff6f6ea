# lcd, a bare send() loop and a plain broadcast server under the same load in one run, then the memory
# of idle viewers, plain and with TLS. Some ten minutes.
# shellcheck shell=bash disable=SC2154

idle_viewers=${IDLE_VIEWERS:-$(($(ulimit -n) > 19100 ? 18900 : $(ulimit -n) - 100))}

# The daemon is built separately and kept: a benchmark's build gives its dependencies features that
# a release does not have.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cargo build --release --locked --bin lcd
cp "$release/lcd" "$dir/lcd"

fanout() {
  cargo bench --quiet --locked --bench fanout -- --lcd "$dir/lcd" ${costs:+--costs "$costs"} "$@"
}

fanout "$@"
echo
fanout --idle --viewers "$idle_viewers"
echo
fanout --idle --tls --viewers 5000
