# `just` lists these.
default:
    @just --list

# The gate: formatting, lints, tests, documentation.
check:
    scripts/check

# A fuzz target for some seconds, or `all`; see CONTRIBUTING.md.
fuzz target seconds:
    scripts/fuzz {{target}} {{seconds}}

# The daemon on its embedded engines.
run *arguments:
    cargo run --release --bin lcd -- {{arguments}}

# The operator's tool.
lc *arguments:
    cargo run --release --bin lc -- {{arguments}}

# A benchmark of docs/benchmarks.md: fanout, bytes, ingest, cluster or archive.
bench *arguments:
    scripts/bench {{arguments}}
