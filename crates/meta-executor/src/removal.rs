//! Removing directories of jobs, whoever owns what is in them.

pub(crate) mod tree;

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::failure::{StageFailure, chain};
use crate::pod::driver;
use crate::pod::spec::{Mapping, PodSpec, RootSpec};

/// How often a tree is tried in which a process that is ending still writes, and the pause before the next try.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Removes `trees`. What is refused to us, because subordinate ids own it or a process that is ending still writes there, is
/// removed in a pod with the ids of the job; most jobs leave nothing of the kind. A tree that is not there is fine: `cleanup`
/// may come twice, and beside the next job's sweep.
pub(crate) fn remove(trees: &[PathBuf], mapping: Mapping) -> Result<(), StageFailure> {
    let refused = trees.iter().filter(|tree| tree::remove(CWD, tree).is_err());
    let words: Vec<String> = refused.map(|tree| tree.display().to_string()).collect();
    if words.is_empty() {
        return Ok(());
    }
    let command = ["remove".to_owned()].into_iter().chain(words.iter().cloned()).collect();
    let spec = PodSpec::own_work("cleanup", RootSpec::Host, command);
    let hint = "the next job on this node tries again";
    match driver::run(&spec, mapping) {
        Ok(outcome) if outcome.code == 0 => Ok(()),
        Ok(_) => Err(StageFailure::system_with_hint(format!("cannot remove `{}`", words.join("`, `")), hint)),
        Err(error) => Err(StageFailure::system_with_hint(chain(&error), hint)),
    }
}

/// Body of `meta-executor remove TREE...`, in the pod. Goes on after a failure; says what failed. Links are removed, never
/// followed.
pub(crate) fn main(trees: &[String]) -> Result<(), String> {
    let failures: Vec<String> = trees
        .iter()
        .filter_map(|tree| {
            remove_tree(Path::new(tree)).err().map(|error| format!("cannot remove `{tree}`: {error}"))
        })
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn remove_tree(tree: &Path) -> Result<(), Errno> {
    let mut tries = 0;
    loop {
        tries += 1;
        match tree::remove(CWD, tree) {
            // Somebody makes something in the tree meanwhile.
            Err(Errno::NOTEMPTY) if tries < TRIES => sleep(PAUSE),
            result => return result,
        }
    }
}
