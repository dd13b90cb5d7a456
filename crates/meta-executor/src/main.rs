//! The program `meta-executor`.

fn main() -> std::process::ExitCode {
    meta_executor::main()
}
