//! Removes what jobs left on this node whose gitlab-runner ended without a cleanup (SIGKILL, walltime, crash).

use std::fs;
use std::path::{Path, PathBuf};

use meta_host::files::read_private;

use crate::context::Context;
use crate::image::store::Store;
use crate::owner;
use crate::pod::spec::Mapping;
use crate::state::JobState;

/// Looks at this host's entries only: whether a process of another host lives cannot be seen from here. Failures are
/// logged: they must not stop the job that is being prepared.
pub(crate) fn run(context: &Context, mapping: Mapping) {
    let paths = &context.paths;
    let prefix = format!("{}-custom-executor", context.environment.hostname);
    let mut abandoned: Vec<PathBuf> = Vec::new();
    for job in entries(&paths.builds_dir, &prefix).filter(|job| *job != paths.job) {
        let Ok(text) = read_private(&job.join("job.json")) else { continue };
        let Ok(state) = serde_json::from_str::<JobState>(&text) else { continue };
        if !owner::is_alive(&state.owner) {
            abandoned.extend(job.file_name().map(|name| paths.node_dir.join("overlay").join(name)));
            abandoned.push(job);
        }
    }
    if abandoned.is_empty() {
        return;
    }
    let store =
        Store { images: paths.node_dir.join("images"), temporary: paths.node_dir.join("tmp"), mapping };
    let trees: Vec<&Path> = abandoned.iter().map(PathBuf::as_path).collect();
    if let Err(error) = store.remove(&trees) {
        log::warn!("cannot remove what earlier jobs left: {}", crate::failure::chain(&error));
    }
}

fn entries(directory: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(move |entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
}
