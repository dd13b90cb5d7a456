//! `meta-executor` as a process, beside `/bin/true` and what a helper stage is made of. Called in the bed by
//! `cargo xtask bench size`.
//!
//! Prints a row per stage: name, milliseconds (median), milliseconds over true, MB, MB over true.

#![expect(clippy::disallowed_methods, reason = "benches are at the edge: they start programs")]

use std::process::Command;

use end_to_end::alone;
use end_to_end::bed::image;
use end_to_end::executor::Site;
use end_to_end::measure::{peak_memory, samples};
use serde_json::json;

const TIMES: usize = 101;

fn main() {
    let site = Site::new("");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    let script = job.script("#!/bin/sh\n");
    let nothing = || Command::new("/bin/true");
    let config = || job.command(&["config"]);
    let helper = || job.command(&["run", &script, "get_sources"]);
    let commands: [(&str, &dyn Fn() -> Command); 4] = [
        ("/bin/true", &nothing),
        ("config", &config),
        ("unshare(1) and bash alone", &alone::helper_stage),
        ("run of an empty helper stage", &helper),
    ];
    let times = samples(&commands.map(|(_, command)| command), TIMES);
    let memory = commands.map(|(_, command)| peak_memory(&command()) as f64 / 1e6);
    for (index, (name, _)) in commands.iter().enumerate() {
        let (ms, mb) = (times[index].median(), memory[index]);
        println!("{name}\t{ms:.2}\t{:.2}\t{mb:.1}\t{:.1}", ms - times[0].median(), mb - memory[0]);
    }
    job.cleanup().success();
}
