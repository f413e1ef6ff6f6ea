# The processor time of consoles, and what 1 and 20 of them add to lcd and to viewers' latency. Fails if a
# bound is exceeded. Two minutes.
# shellcheck shell=bash

cargo bench --quiet --locked --bench console -- "$@"
