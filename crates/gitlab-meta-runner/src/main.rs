//! The program `gitlab-meta-runner`.

fn main() -> std::process::ExitCode {
    gitlab_meta_runner::main()
}
