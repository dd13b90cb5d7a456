//! `cleanup`: removes the job's directories. Works without a prepared job, and twice.

use std::path::Path;

use crate::context::Context;
use crate::failure::StageFailure;
use crate::image::store::Store;
use crate::state::JobState;

/// Removes what `prepare` made. Nothing that a job chose is used: the names come from gitlab-runner's own directory.
pub(crate) fn run(context: &Context) -> Result<(), StageFailure> {
    let Ok(state) = JobState::load(&context.paths) else {
        // Preparation failed before there was a job; then nothing in the directories has a foreign owner.
        return remove_own(&[&context.paths.job, &context.paths.overlay]);
    };
    let store = Store {
        images: context.paths.node_dir.join("images"),
        temporary: context.paths.node_dir.join("tmp"),
        mapping: state.mapping,
    };
    store.remove(&[&context.paths.overlay, &context.paths.job]).map_err(|error| StageFailure::system(&error))
}

fn remove_own(trees: &[&Path]) -> Result<(), StageFailure> {
    for tree in trees {
        match std::fs::remove_dir_all(tree) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let text = format!("cannot remove `{}`: {error}", tree.display());
                return Err(StageFailure::system_with_hint(text, "the next job on this node tries again"));
            }
            _ => {}
        }
    }
    Ok(())
}
