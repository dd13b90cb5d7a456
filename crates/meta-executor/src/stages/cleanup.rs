//! `cleanup`: ends what still runs and removes the job's directories. Works without a prepared job, twice, and beside a
//! `run` that has not ended yet (gitlab-runner waits 5 minutes for one, then calls us).

use crate::context::Context;
use crate::failure::StageFailure;
use crate::holder::HolderRecord;
use crate::node::Node;
use crate::state::JobState;
use crate::{owner, removal, slot};

/// Removes what `prepare` made. Nothing that a job chose is used: the names come from gitlab-runner's own directory.
pub(crate) fn run(context: &Context) -> Result<(), StageFailure> {
    let paths = &context.paths;
    if let Some(driver) = owner::read(&paths.running_file()) {
        owner::kill(&driver);
    }
    if let Some(holder) = HolderRecord::load(paths) {
        owner::kill(&holder.keeper);
    }
    slot::release(context);
    let trees = [paths.overlay.clone(), paths.job.clone()];
    if trees.iter().all(|tree| tree.symlink_metadata().is_err()) {
        return Ok(());
    }
    // Where preparation failed, the node says whose ids may be there.
    let mapping = JobState::load(paths)
        .map(|state| state.mapping)
        .or_else(|_| Node::probe(context).map(|node| node.mapping))?;
    removal::remove(&trees, mapping)
}
