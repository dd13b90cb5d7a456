//! Instances of different clusters, told apart by a variable: each is asked and cancelled where its launches are.

use std::fs;

use serde_json::json;

use crate::sandbox::{Sandbox, silent};

/// `a` on the cluster alpha, `b` on beta. Both clusters count their jobs from 7.
fn two_clusters() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut instances = String::new();
    for (name, cluster) in [("a", "alpha"), ("b", "beta")] {
        sandbox.instance(name, json!({}));
        fs::create_dir(sandbox.path(&format!("queue-{cluster}"))).unwrap();
        instances += &format!(
            "[runners.{name}]\ntags = [\"{name}\"]\n[runners.{name}.config_variables]\nCLUSTER = \"{cluster}\"\n"
        );
    }
    let table = ["query", "cancel", "history"].into_iter().zip([
        "[\"squeue\", \"--clusters=$CLUSTER\"]",
        "[\"scancel\", \"--clusters=$CLUSTER\", \"--state=PENDING\"]",
        "[\"sacct\", \"--clusters=$CLUSTER\", \"$IDS\"]",
    ]);
    let table: String = table.map(|(key, words)| format!("{key} = {words}\n")).collect();
    sandbox.configure(&instances, &format!("args = [\"--clusters=$CLUSTER\"]\n[schedulers.slurm]\n{table}"));
    sandbox.fault("before", "id=7");
    sandbox
}

fn queue(sandbox: &Sandbox, cluster: &str) -> usize {
    fs::read_dir(sandbox.path(&format!("queue-{cluster}"))).unwrap().count()
}

#[test]
fn what_is_surplus_is_cancelled_in_its_own_cluster() {
    let sandbox = two_clusters();
    sandbox.job("a");
    let job = sandbox.job("b");
    assert_eq!(sandbox.once(), silent());
    assert_eq!((queue(&sandbox, "alpha"), queue(&sandbox, "beta")), (1, 1));
    sandbox.act_on_job(job, "cancel");
    assert_eq!(sandbox.once(), silent());
    sandbox.age(60);
    assert_eq!(sandbox.once(), silent());
    assert_eq!((queue(&sandbox, "alpha"), queue(&sandbox, "beta")), (1, 0));
    assert_eq!(sandbox.calls("scancel"), ["--clusters=beta --state=PENDING 7"]);
    assert_eq!(sandbox.states(), ["queued: Priority", "cancelled: no job waited for it any more"]);
}

#[test]
fn a_cluster_that_does_not_answer_holds_back_its_own_instances_only() {
    let sandbox = two_clusters();
    sandbox.fault("squeue", "case $* in *beta*) echo down >&2; exit 1 ;; esac");
    sandbox.job("a");
    sandbox.job("b");
    let run = sandbox.once();
    assert_eq!((run.code, queue(&sandbox, "alpha"), queue(&sandbox, "beta")), (Some(5), 1, 0), "{run:?}");
    let told = "error: the batch system of `b` does not answer, so nothing is launched: `squeue --clusters=beta` ended with exit code 1\n";
    assert!(run.stderr.starts_with(told), "{run:?}");
    let plan = sandbox.run(&["plan"]);
    assert!(plan.stdout.contains("b: nothing is launched while the queue cannot be read"), "{plan:?}");
    sandbox.fault("squeue", "");
    assert!(sandbox.once().stderr.contains("the batch system of `b`: it works again"));
    assert_eq!(queue(&sandbox, "beta"), 1);
}

#[test]
fn launches_of_an_instance_that_is_gone_are_found_wherever_they_are() {
    let sandbox = two_clusters();
    sandbox.job("b");
    assert_eq!(sandbox.once(), silent());
    let before = sandbox.read("config.toml");
    sandbox.write(
        "config.toml",
        &before
            .replace("[runners.b]\ntags = [\"b\"]", "[runners.c]\ntags = [\"c\"]")
            .replace("runners.b.", "runners.c."),
    );
    sandbox.age(1000);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.states(), ["queued: Priority"]);
}
