# Runs the tests, which `cargo test --no-run` has built.
# shellcheck shell=bash

# Test programs that need the servers of scripts/stack, some of which kill them, and that wait most of the time.
server_tests=(cluster faults identity moderator_down stores)
# Nothing runs beside these: `log_replaced` deletes topics while comments are sent, `viewers` sends as much as the
# machine can take, and a scenario of `browser` measures how long a page is blocked.
alone=(log_replaced viewers browser)

# What the names of tests end with that measure a promise of milliseconds. They run one by one, with nothing
# beside them.
timed=_within_100_ms

# Skipped: bodies of child processes that other tests start, to kill or starve them.
test_options=(--include-ignored --skip ::child_ --skip "$timed")
# The process group that runs `server_tests` beside the others, and what it says.
beside=
server_log=${CARGO_TARGET_DIR:-target}/server-tests.log

# run_tests TARGET...: one run names all that fails.
run_tests() {
  cargo test --locked --no-fail-fast "$@" -- "${test_options[@]}"
}

# Prints `--test NAME` for each test program that stands in neither list.
other_tests() {
  local file name
  for file in tests/*.rs tests/*/main.rs; do
    name=${file#tests/}
    name=${name%/main.rs}
    name=${name%.rs}
    [[ " ${server_tests[*]} ${alone[*]} " == *" $name "* ]] || printf -- '--test %s ' "$name"
  done
}

# Runs all tests. Those on servers wait for outages to be noticed and to end, so the tests that need no server run
# meanwhile, on ports of their own. Their time limits allow for a busy machine.
run_all_tests() {
  local failed=0
  run_tests --lib --bins || failed=1
  # In a process group of its own, to be ended as one.
  set -m
  LC_FIRST_TEST_PORT=26000 cargo test --locked --no-fail-fast "${server_tests[@]/#/--test=}" \
    -- "${test_options[@]}" </dev/null >"$server_log" 2>&1 &
  beside=$!
  set +m
  # shellcheck disable=SC2046 # Names of programs have no spaces.
  run_tests $(other_tests) || failed=1
  wait "$beside" || failed=1
  beside=
  cat "$server_log"
  run_tests "${alone[@]/#/--test=}" || failed=1
  cargo test --locked --no-fail-fast --tests "$timed" -- --include-ignored --test-threads=1 || failed=1
  cargo test --locked --doc || failed=1
  return "$failed"
}

# Ends the programs beside the others when the gate is interrupted: they would start servers again.
end_tests() {
  [[ $beside ]] || return 0
  kill -- "-$beside" 2>/dev/null || true
  wait "$beside" || true
  echo "interrupted; the tests on servers said: $server_log" >&2
}
