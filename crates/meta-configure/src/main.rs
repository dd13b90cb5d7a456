//! The program `meta-configure`.

fn main() -> std::process::ExitCode {
    meta_configure::main()
}
