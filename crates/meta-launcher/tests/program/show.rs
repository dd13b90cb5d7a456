//! What people and other programs are shown: status, plan, figures.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use expect_test::expect;
use serde_json::{Value, json};

use crate::sandbox::{Run, Sandbox, silent};

/// An array of which one element runs, a refused instance, a job that nobody takes.
fn busy() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.instance("small", json!({}));
    let small = "[runners.small]\ntags = [\"small\"]\n[runners.small.config_variables]\nFAIL = \"yes\"\n";
    let instances = format!(
        "[runners.big]\ntags = [\"big\"]\nmax_launches = 3\n[runners.big.config_variables]\nFAIL = \"no\"\n{small}"
    );
    sandbox.configure(&instances, "args = [\"--comment=$FAIL-$LAUNCH_ID\"]");
    sandbox.fault(
        "before",
        "case $* in *yes-*) echo 'sbatch: error: Invalid qos specification' >&2; exit 1 ;; esac",
    );
    for tag in ["big", "big", "big", "big", "small", "huge"] {
        sandbox.job(tag);
    }
    assert_eq!(sandbox.once().code, Some(5));
    let id = sandbox.queued().remove(0);
    sandbox.set_queue(&id, &["1|RUNNING|None", "2-3|PENDING|Resources"]);
    // Ages are shown in minutes, and a second more or less is not seen.
    sandbox.age(60);
    sandbox
}

/// With batch ids and ages made equal.
fn shown(sandbox: &Sandbox, args: &[&str]) -> String {
    let run = sandbox.run(args);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let id = sandbox.queued().remove(0);
    run.stdout.replace(&id, "4711").replace("              ID", "ID")
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let sandbox = busy();
    for args in [&["status"][..], &["status", "--json"], &["plan"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.command(args).stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn status_is_a_table() {
    let sandbox = busy();
    let calls = sandbox.calls("sbatch");
    let before = sandbox.ledger();
    let text = shown(&sandbox, &["status"]);
    // Columns move with the length of the ids.
    let text: Vec<String> = text
        .lines()
        .map(|line| {
            line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>().join(" | ")
        })
        .collect();
    expect![[r#"
        instance | pending | queued | starting | running | failed | last error
        big | 4 | 2 | 1 | 0 | 0 | -
        small | 1 | 0 | 0 | 0 | 1 | sbatch: error: Invalid qos specification

        big: more waiting jobs (1) than `max_launches` = 3 lets through
        small: the submission was refused for good, nothing is tried before the configuration changes: sbatch: error: Invalid qos specification
        job 20: no instance has `huge`
        trouble with launches for `small` for 1 min: the launch for instance `small` failed: `sbatch --parsable --comment=yes-$LAUNCH_ID` ended with exit code 1; | sbatch: error: Invalid qos specification; hint: nothing more is tried for `small` before its `[launch]` changes

        launch | instance | batch id | state | elements | age | reason
        ID | big | 4711 | queued | 3 (2 wait, 1 run) | 1 min | Resources
        ID | small | - | failed | 1 | 1 min | sbatch: error: Invalid qos specification
    "#]].assert_eq(&(text.join("\n").replace("| 1 s |", "| 0 s |").replace("| 2 s |", "| 0 s |") + "\n"));
    assert_eq!((sandbox.calls("sbatch"), sandbox.ledger()), (calls, before), "nothing is changed");
}

#[test]
fn status_is_json_too() {
    let sandbox = busy();
    let mut status: Value = serde_json::from_str(&shown(&sandbox, &["status", "--json"])).unwrap();
    assert!(status["at"].as_u64().unwrap() > 1_700_000_000);
    status["at"] = json!(0);
    for instance in status["instances"].as_array_mut().unwrap() {
        instance["oldest_pending_s"] = json!(0);
    }
    for list in ["launches", "troubles"] {
        status[list].as_array_mut().unwrap().iter_mut().for_each(|entry| entry["age_s"] = json!(0));
    }
    expect![[r#"
        {
          "at": 0,
          "batch_known": true,
          "gitlab_known": true,
          "instances": [
            {
              "failed": 0,
              "last_error": null,
              "name": "big",
              "notes": [
                "more waiting jobs (1) than `max_launches` = 3 lets through"
              ],
              "oldest_pending_s": 0,
              "pending": 4,
              "queued": 2,
              "running": 0,
              "starting": 1
            },
            {
              "failed": 1,
              "last_error": "sbatch: error: Invalid qos specification",
              "name": "small",
              "notes": [
                "the submission was refused for good, nothing is tried before the configuration changes: sbatch: error: Invalid qos specification"
              ],
              "oldest_pending_s": 0,
              "pending": 1,
              "queued": 0,
              "running": 0,
              "starting": 0
            }
          ],
          "launches": [
            {
              "age_s": 0,
              "batch_id": "4711",
              "elements": 3,
              "id": "ID",
              "instance": "big",
              "jobs": [
                10,
                12,
                14
              ],
              "reason": "Resources",
              "running": 1,
              "state": "queued",
              "waiting": 2
            },
            {
              "age_s": 0,
              "batch_id": null,
              "elements": 1,
              "id": "ID",
              "instance": "small",
              "jobs": [
                18
              ],
              "reason": "sbatch: error: Invalid qos specification",
              "running": 0,
              "state": "failed",
              "waiting": 0
            }
          ],
          "name": "meta",
          "troubles": [
            {
              "about": "launches for `small`",
              "age_s": 0,
              "text": "the launch for instance `small` failed: `sbatch --parsable --comment=yes-$LAUNCH_ID` ended with exit code 1\n  | sbatch: error: Invalid qos specification\nhint: nothing more is tried for `small` before its `[launch]` changes"
            }
          ],
          "unmatched": [
            {
              "job": 20,
              "reason": "no instance has `huge`"
            }
          ],
          "version": 1
        }
    "#]].assert_eq(&format!("{status:#}\n"));
}

#[test]
fn the_plan_says_what_and_why() {
    let sandbox = busy();
    expect![[r#"
        note that launch ID of big is queued (Resources)
        big: pending 4, queued 2, starting 1, to launch 0
        big: more waiting jobs (1) than `max_launches` = 3 lets through
        small: pending 1, queued 0, starting 0, to launch 0
        small: the submission was refused for good, nothing is tried before the configuration changes: sbatch: error: Invalid qos specification
        job 20: no instance has `huge`
    "#]].assert_eq(&shown(&sandbox, &["plan"]));
    let calls = (sandbox.calls("sbatch"), sandbox.calls("scancel"));
    shown(&sandbox, &["plan"]);
    assert_eq!((sandbox.calls("sbatch"), sandbox.calls("scancel")), calls);
}

#[test]
fn a_gitlab_that_is_away_does_not_hide_the_launches() {
    let sandbox = busy();
    sandbox.gitlab.add_fault(json!({"route": "* *", "times": 1000, "answer": {"status": {"status": 500}}}));
    let run: Run = sandbox.run(&["status"]);
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.stdout.contains("queued") && run.stderr.starts_with("error: `GET URL"), "{run:?}");
}

#[test]
fn figures_that_cannot_be_written_stop_nothing() {
    let sandbox = Sandbox::new();
    sandbox
        .configure("[runners.big]\ntags = [\"big\"]\n[poll]\nmetrics_file = \"config.toml/figures\"\n", "");
    sandbox.job("big");
    let run = sandbox.once();
    assert_eq!((run.code, sandbox.queued().len()), (Some(5), 1), "{run:?}");
    assert!(run.stderr.contains("HOME/config.toml/figures"), "{run:?}");
    assert!(!sandbox.path("data/meta.lease").exists());
}

#[test]
fn figures_for_prometheus_are_replaced_at_each_tick() {
    let sandbox = busy();
    let text = fs::read_to_string(sandbox.path("config.toml")).unwrap();
    sandbox.write("config.toml", &format!("{text}\n[poll]\nmetrics_file = \"~/figures.prom\"\n"));
    assert_eq!(sandbox.once(), silent());
    let path = sandbox.path("figures.prom");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let text = fs::read_to_string(path).unwrap();
    let values: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("timestamp") && !line.contains("oldest"))
        .collect();
    expect![[r#"
        gitlab_meta_runner_pending_jobs{meta_runner="meta",instance="big"} 4
        gitlab_meta_runner_pending_jobs{meta_runner="meta",instance="small"} 1
        gitlab_meta_runner_running_jobs{meta_runner="meta",instance="big"} 0
        gitlab_meta_runner_running_jobs{meta_runner="meta",instance="small"} 0
        gitlab_meta_runner_launches_queued{meta_runner="meta",instance="big"} 2
        gitlab_meta_runner_launches_queued{meta_runner="meta",instance="small"} 0
        gitlab_meta_runner_launches_starting{meta_runner="meta",instance="big"} 1
        gitlab_meta_runner_launches_starting{meta_runner="meta",instance="small"} 0
        gitlab_meta_runner_launches_running{meta_runner="meta",instance="big"} 1
        gitlab_meta_runner_launches_running{meta_runner="meta",instance="small"} 0
        gitlab_meta_runner_launches_ended{meta_runner="meta",instance="small",state="failed"} 1
        gitlab_meta_runner_launches_total{meta_runner="meta",instance="big"} 3
        gitlab_meta_runner_launches_total{meta_runner="meta",instance="small"} 1
        gitlab_meta_runner_launches_refused_total{meta_runner="meta",instance="big"} 0
        gitlab_meta_runner_launches_refused_total{meta_runner="meta",instance="small"} 1
        gitlab_meta_runner_launches_cancelled_total{meta_runner="meta",instance="big"} 0
        gitlab_meta_runner_launches_cancelled_total{meta_runner="meta",instance="small"} 0
        gitlab_meta_runner_launches_lost_total{meta_runner="meta",instance="big"} 0
        gitlab_meta_runner_launches_lost_total{meta_runner="meta",instance="small"} 0
        gitlab_meta_runner_unmatched_jobs{meta_runner="meta"} 1
        gitlab_meta_runner_gitlab_requests{meta_runner="meta"} 1
        gitlab_meta_runner_gitlab_requests_total{meta_runner="meta"} 1
        gitlab_meta_runner_troubles{meta_runner="meta"} 1
        gitlab_meta_runner_batch_known{meta_runner="meta"} 1
    "#]]
    .assert_eq(&(values.join("\n") + "\n"));
    follows_the_text_format(&text);
}

/// What a collector asks for: each metric once, with HELP and TYPE before its values and nothing of another one between
/// them, each value once, counters and only they end in `_total`.
fn follows_the_text_format(text: &str) {
    let mut seen = BTreeSet::new();
    let mut metric = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            metric = help.split(' ').next().unwrap();
            assert!(help.len() > metric.len() + 1 && !help.contains('\\') && seen.insert(metric), "{line}");
            let kind = if metric.ends_with("_total") { "counter" } else { "gauge" };
            assert_eq!(lines.next(), Some(format!("# TYPE {metric} {kind}").as_str()));
            continue;
        }
        let (name, rest) = line.split_once('{').unwrap();
        let (labels, value) = rest.split_once("} ").unwrap();
        let is_plain = |label: &str| {
            let (name, value) = label.split_once("=\"").unwrap();
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                && value.strip_suffix('"').is_some_and(|value| !value.contains(['"', '\\', ',']))
        };
        assert!(name == metric && labels.split(',').all(is_plain) && seen.insert(line), "{line}");
        assert!(value.parse::<u64>().is_ok(), "{line}");
    }
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
}
