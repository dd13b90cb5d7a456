//! `config`: tells gitlab-runner the paths inside the job and who we are. It must be quick: it only reads files of ours.

use std::path::Path;

use meta_core::config::executor::Level;
use serde::Serialize;

use crate::context::Context;
use crate::directories::{self, Shown};
use crate::failure::StageFailure;
use crate::job::Job;
use crate::log_line;
use crate::node::Node;

/// What gitlab-runner reads from stdout.
#[derive(Serialize)]
struct ConfigOutput<'a> {
    driver: Driver,
    /// Shown behind `via` in the log's line `Running on JOB via HOSTNAME...`; docker has the machine there. Nothing else uses it.
    hostname: &'a str,
    /// Each job has its own directory.
    builds_dir: &'a Path,
    cache_dir: &'a Path,
    builds_dir_is_shared: bool,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
}

/// Prints the output. Where the job sees the host's paths, these are decided here already.
pub(crate) fn run(context: &Context, job: &Job) -> Result<(), StageFailure> {
    let node = &context.environment.hostname;
    if shown(context)? == Shown::AsDocker {
        log_line(&output(node, Path::new("/builds"), Path::new("/cache")));
        return Ok(());
    }
    directories::take(context)?;
    let job = directories::find(context, job, Shown::AsOnHost)?;
    log_line(&output(node, &job.builds_inside, &job.cache_inside));
    Ok(())
}

/// A level that is pinned is not probed here: `prepare` says so if it is not to be had.
fn shown(context: &Context) -> Result<Shown, StageFailure> {
    match context.settings.level {
        _ if context.settings.same_paths => Ok(Shown::AsOnHost),
        Level::A | Level::B => Ok(Shown::AsDocker),
        Level::C => Ok(Shown::AsOnHost),
        Level::Auto => Ok(Node::probe(context)?.shown_paths(context)),
    }
}

/// The JSON text on the node with this host name.
fn output(node: &str, builds_dir: &Path, cache_dir: &Path) -> String {
    let output = ConfigOutput {
        driver: Driver { name: "gitlab-meta-runner", version: env!("CARGO_PKG_VERSION") },
        hostname: node,
        builds_dir,
        cache_dir,
        builds_dir_is_shared: false,
    };
    serde_json::to_string(&output).expect("the output has only strings and a bool")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_is_what_docker_would_use() {
        expect_test::expect![[
            r#"{"driver":{"name":"gitlab-meta-runner","version":"0.1.0"},"hostname":"node7","builds_dir":"/builds","cache_dir":"/cache","builds_dir_is_shared":false}"#
        ]]
        .assert_eq(&output("node7", Path::new("/builds"), Path::new("/cache")));
    }
}
