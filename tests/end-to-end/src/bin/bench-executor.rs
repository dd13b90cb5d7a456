//! What a trivial warm job costs beside its own scripts. Called in the bed by `cargo xtask bench executor`.
//!
//! The calls are those that gitlab-runner makes for a job without sources. Beside them the same scripts are run by plain bash,
//! by unshare(1) and Apptainer alone (`end_to_end::alone`), by `apptainer exec` of a SIF per stage, and by `podman run` per
//! stage; job by job in turn, so that a slow moment of the machine meets all of them. Prints a row per call: name, then the
//! medians in ms of ours, bash, what there is alone, Apptainer and podman.

#![expect(clippy::disallowed_methods, reason = "benches are at the edge: they start programs")]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use end_to_end::alone;
use end_to_end::bed::image;
use end_to_end::executor::{Job, Site};
use end_to_end::measure::{Samples, milliseconds};
use end_to_end::processes::{LIMIT, wait_until, with_mark};
use serde_json::json;

const TIMES: usize = 15;
const IMAGE: &str = "debian:sid";

/// The calls with a script, in gitlab-runner's order. The others come before and behind them.
const STAGES: [&str; 4] = ["prepare_script", "get_sources", "build_script", "cleanup_file_variables"];

/// What runs the script of a stage beside ours, a column each.
type Runner<'a> = &'a dyn Fn(&str) -> Command;

fn main() {
    let site = Site::new("");
    let sif = site.path().join("image.sif");
    let pull = Command::new("apptainer")
        .args(["-q", "pull", "--no-https"])
        .arg(&sif)
        .arg(format!("docker://{}", image(IMAGE)))
        .output()
        .expect("apptainer starts");
    assert!(pull.status.success(), "{}", String::from_utf8_lossy(&pull.stderr));
    site.job(&image(IMAGE), json!({})).prepared().cleanup().success();
    let rootfs = site.images().pop().expect("a job has pulled it").join("rootfs");
    let bash = |_: &str| Command::new("bash");
    let alone = |stage: &str| match stage {
        "build_script" => alone::image_stage(&rootfs),
        _ => alone::helper_stage(),
    };
    let apptainer = |_: &str| {
        let mut command = Command::new("apptainer");
        command.args(["-s", "exec"]).arg(&sif).arg("bash");
        command
    };
    let podman = |_: &str| {
        let mut command = Command::new("podman");
        command.args(["run", "--rm", "-i", "--quiet", &image(IMAGE), "bash"]);
        command
    };
    let others: [Runner<'_>; 4] = [&bash, &alone, &apptainer, &podman];

    // Everything is warm: the image is on the node and in podman's store, files are in the page cache.
    round(&site, &others);
    let mut rows: Vec<(&str, Vec<Vec<f64>>)> = Vec::new();
    for _ in 0..TIMES {
        for (index, (name, times)) in round(&site, &others).into_iter().enumerate() {
            if rows.len() <= index {
                rows.push((name, vec![Vec::new(); times.len()]));
            }
            rows[index].1.iter_mut().zip(times).for_each(|(column, time)| column.push(time));
        }
    }
    for (name, columns) in rows {
        let cells = columns.into_iter().map(|column| format!("{:.1}", Samples::of(column).median()));
        println!("{name}\t{}", cells.collect::<Vec<_>>().join("\t"));
    }
}

/// One job: each call with the times of ours and, where there is a script, of the others.
fn round(site: &Site, others: &[Runner<'_>]) -> Vec<(&'static str, Vec<f64>)> {
    let job = site.job(&image(IMAGE), json!({}));
    let script =
        job.script("#!/usr/bin/env bash\nset -eo pipefail\nset +o noclobber\n: | eval $'true'\nexit 0\n");
    let mut calls = vec![own(&job, "config"), own(&job, "prepare")];
    calls.extend(STAGES.map(|stage| (stage, vec![milliseconds(&mut job.command(&["run", &script, stage]))])));
    calls.push(own(&job, "cleanup"));
    for other in others {
        for (stage, times) in calls.iter_mut().filter(|(call, _)| STAGES.contains(call)) {
            times.push(milliseconds(fed(&mut other(stage), &script)));
        }
    }
    // podman removes a container behind our back, which the next round would pay for.
    wait_until("podman has tidied up", LIMIT, || {
        ["conmon", "container cleanup"].into_iter().all(|mark| with_mark(mark).is_empty())
    });
    calls
}

/// A call without a script, which only ours has.
fn own(job: &Job<'_>, call: &'static str) -> (&'static str, Vec<f64>) {
    (call, vec![milliseconds(&mut job.command(&[call]))])
}

fn fed<'a>(command: &'a mut Command, script: &str) -> &'a mut Command {
    command.stdin(Stdio::from(File::open(Path::new(script)).expect("the script was written")))
}
