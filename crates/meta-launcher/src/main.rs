//! The program `meta-launcher`.

fn main() -> std::process::ExitCode {
    meta_launcher::main()
}
