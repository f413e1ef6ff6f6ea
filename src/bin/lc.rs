//! The operator's tool. See [`live_comments::cli`].

fn main() -> std::process::ExitCode {
    live_comments::cli::main()
}
