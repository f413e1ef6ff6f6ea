//! `lc`: parse, run, exit code.

fn main() -> std::process::ExitCode {
    live_comments::cli::main()
}
