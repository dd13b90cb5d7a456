//! `bed status`: what runs.

use super::state::{self, Holder};
use super::{daemons, images, place, runner, up};
use crate::failure::Result;
use std::fs;
use std::process::ExitCode;

/// A shell function that asks the registry for an image, given as NAME:TAG.
const IMAGES: &str = "answer() { \
    curl --silent --head --output /dev/null --write-out '%{http_code}\\n' --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
    http://127.0.0.1:5000/v2/${1%:*}/manifests/${1##*:} | sed \"s|^200$|$1|; t; s|.*|$1 is missing (&)|\"; }";

/// Prints on stdout; exit code 1 if the bed or one of its daemons does not run.
pub(super) fn run() -> Result<ExitCode> {
    let holder = state::require()?;
    println!("holder    {}", holder.pid);
    let dead = dead_daemons(holder);
    for name in daemons::names() {
        println!("{name:<16}{}", if dead.contains(&name) { "dead" } else { "runs" });
    }
    let images = images::names().fold(IMAGES.to_owned(), |command, name| format!("{command}; answer {name}"));
    for (title, command) in [
        (
            "slurm",
            "sinfo --noheader --format '%P %D node, %C CPUs (allocated/idle/other/total), %t'; squeue --noheader | wc -l | sed 's/$/ jobs in the queue/'",
        ),
        ("registry", images.as_str()),
    ] {
        println!("{title}");
        for line in up::inside(&["sh", "-c", command])?.lines() {
            println!("    {line}");
        }
    }
    let note =
        fs::read_to_string(place::root().join(runner::NOTE.trim_start_matches('/'))).unwrap_or_default();
    println!("gitlab-runner   {}", note.trim());
    Ok(if dead.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Daemons that are no children of the holder (any more).
pub(super) fn dead_daemons(holder: Holder) -> Vec<&'static str> {
    let mut alive = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(name) = name_of_child(&stat, holder.pid) {
            alive.push(name.to_owned());
        }
    }
    daemons::names().filter(|name| !alive.iter().any(|other| name.starts_with(other.as_str()))).collect()
}

/// The name (cut to 15 bytes by the kernel) of a live process with this parent.
fn name_of_child(stat: &str, parent: i32) -> Option<&str> {
    let (front, back) = stat.rsplit_once(')')?;
    let mut fields = back.split_ascii_whitespace();
    let state = fields.next()?;
    let is_child = fields.next()?.parse() == Ok(parent);
    (is_child && state != "Z").then_some(front.split_once('(')?.1)
}

#[cfg(test)]
mod tests {
    use super::name_of_child;

    #[test]
    fn only_live_children_count() {
        assert_eq!(name_of_child("9 (munged) S 7 9 9", 7), Some("munged"));
        assert_eq!(name_of_child("9 (munged) S 8 9 9", 7), None);
        assert_eq!(name_of_child("9 (munged) Z 7 9 9", 7), None);
    }
}
