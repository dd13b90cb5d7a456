//! gitlab-runner in the bed: the real one or the stand-in, with a configuration as `meta-configure` writes it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::bed;
use crate::executor::Site;

/// Where the bed says which one it has.
const NOTE: &str = "/etc/bed-runner";

/// Whether jobs go through the real gitlab-runner.
pub fn is_real() -> bool {
    fs::read_to_string(NOTE).is_ok_and(|note| note.starts_with("real"))
}

/// `gitlab-runner`: the bed's PATH leads to it.
pub fn command() -> Command {
    Command::new("gitlab-runner")
}

/// Writes a configuration with one runner, `big`. `more` are lines and tables of its section.
pub fn write_config(file: &Path, site: &Site, url: &str, token: &str, more: &str) {
    let program = bed::program("meta-executor");
    let stages: String = ["config", "prepare", "run", "cleanup"]
        .map(|stage| {
            format!(
                "{stage}_exec = \"{}\"\n{stage}_args = [\"big\", \"{stage}\", \"--data-dir\", \"{}\"]\n",
                program.display(),
                site.data_dir().display()
            )
        })
        .concat();
    let text = format!(
        "concurrent = 1\n[[runners]]\nname = \"big\"\nurl = \"{url}\"\ntoken = \"{token}\"\nexecutor = \"custom\"\n\
         builds_dir = \"/builds\"\ncache_dir = \"/cache\"\n{more}\n[runners.custom]\n{stages}graceful_kill_timeout = 5\n"
    );
    fs::write(file, text).expect("the directory is writable");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}
