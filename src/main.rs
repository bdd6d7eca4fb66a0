//! `subgate`: see `subgate --help`, and [`subgate::cli`] for what it does.

fn main() -> std::process::ExitCode {
    subgate::cli::main()
}
