# Bytes on the wire per comment of the recorded chats in each encoding, then by interval of key frames
# and of batches, which is how the defaults were chosen. Deterministic, no network; takes a minute.
# shellcheck shell=bash disable=SC2154

BENCH_COSTS=$costs BENCH_BYTES_ALL=1 cargo test --quiet --locked --lib wire_bytes -- --nocapture |
  grep --extended-regexp '^fixtures|^  '
