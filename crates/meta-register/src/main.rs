//! The program `meta-register`.

fn main() -> std::process::ExitCode {
    meta_register::main()
}
