//! The life of launches: made, counted, lost, cancelled.

use serde_json::json;

use crate::sandbox::{Run, Sandbox, silent};

const BIG: &str = "[runners.big]\ntags = [\"big\"]\n";

/// Ticks until nothing was asked for twice: enough for a second look.
fn tick_twice(sandbox: &Sandbox) {
    assert_eq!(sandbox.once(), silent());
    sandbox.age(60);
    assert_eq!(sandbox.once(), silent());
}

/// A waiting job, and the batch id of the launch that the first tick made for it.
fn launched() -> (Sandbox, i64, String) {
    let sandbox = Sandbox::new();
    let job = sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    let id = sandbox.queued().remove(0);
    (sandbox, job, id)
}

#[test]
fn a_tick_without_jobs_leaves_no_trace() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.once(), silent());
    assert_eq!((sandbox.calls("sbatch").len(), sandbox.calls("squeue").len()), (0, 2));
}

#[test]
fn a_burst_is_a_few_arrays_and_its_jobs_are_counted() {
    let sandbox = Sandbox::new();
    sandbox.configure(BIG, "max_in_flight = 250\nmax_array = 100");
    for _ in 0..300 {
        sandbox.job("big");
    }
    assert_eq!(sandbox.once(), silent());
    let arrays: Vec<String> =
        sandbox.calls("sbatch").iter().map(|call| call.split(' ').nth(2).unwrap().to_owned()).collect();
    assert_eq!(arrays, ["--array=1-100", "--array=1-100", "--array=1-50"]);
    // What waits in the queue counts, by its elements.
    tick_twice(&sandbox);
    assert_eq!(sandbox.calls("sbatch").len(), 3);
    // Four pages of jobs of the project: two are enough for the limit.
    let requests = sandbox.gitlab.requests();
    let pages = requests.iter().filter(|request| request["route"] == "/api/v4/projects/{id}/jobs").count();
    assert_eq!(pages, 9, "three ticks");
}

#[test]
fn an_array_of_the_admin_s_is_not_put_into_another_one() {
    let sandbox = Sandbox::new();
    let head = sandbox.head();
    let launch = "executable = \"sbatch\"\nstdin = \"#!/bin/sh\\n#SBATCH --array=1-2\\n\"";
    sandbox.configure_with(&head, BIG, launch);
    sandbox.job("big");
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    assert!(sandbox.calls("sbatch").iter().all(|call| !call.contains("--array")));
}

#[test]
fn the_mark_is_left_out_where_the_admin_leads_the_id_to_the_job() {
    let sandbox = Sandbox::new();
    sandbox.configure(BIG, "args = [\"--comment=x-$LAUNCH_ID\"]");
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    let id = sandbox.launches()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(sandbox.calls("sbatch"), [format!("--parsable --comment=x-{id}")]);
}

#[test]
fn an_id_that_only_the_script_s_shell_sees_leads_nowhere() {
    let sandbox = Sandbox::new();
    let head = format!(
        "url = \"{}\"\nproject = \"group/project\"\nmanagement_token = \"{}\"",
        sandbox.gitlab.url(),
        sandbox.token
    );
    let is_marked = |script: &str| {
        sandbox.configure_with(&head, BIG, &format!("executable = \"sbatch\"\nstdin = \"{script}\""));
        sandbox.job("big");
        assert_eq!(sandbox.once(), silent());
        sandbox.calls("sbatch").last().unwrap().contains("--comment=gitlab-meta-runner/meta/")
    };
    assert!(is_marked(r"#!/bin/sh\n# $LAUNCH_ID\necho $LAUNCH_ID\n"));
    assert!(!is_marked(r"#!/bin/sh\n#SBATCH --job-name=ci-$LAUNCH_ID\n"));
}

#[test]
fn what_the_admin_sets_for_squeue_does_not_hide_launches() {
    let sandbox = Sandbox::new();
    sandbox.fault("squeue", "env >\"$home/seen\"");
    let mut command = sandbox.command(&["once"]);
    command.env("SQUEUE_PARTITION", "debug").env("SLURM_CONF", "/etc/slurm.conf");
    assert_eq!(sandbox.finish(command), silent());
    let seen = std::fs::read_to_string(sandbox.path("seen")).unwrap();
    assert!(seen.contains("SLURM_CONF=") && seen.contains("SLURM_BITSTR_LEN=0\n"), "{seen}");
    assert!(!seen.contains("SQUEUE_"), "{seen}");
}

#[test]
fn a_cancelled_job_takes_its_launch_along_at_the_second_look() {
    let sandbox = Sandbox::new();
    let job = sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    let queued = sandbox.queued();
    sandbox.act_on_job(job, "cancel");
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued(), queued);
    sandbox.age(60);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(
        (sandbox.calls("scancel"), sandbox.queued()),
        (vec![format!("--state=PENDING {}", queued[0])], Vec::new())
    );
    assert_eq!(sandbox.states(), ["cancelled: no job waited for it any more"]);
}

#[test]
fn a_surplus_launch_that_starts_meanwhile_is_left_alone() {
    let sandbox = Sandbox::new();
    let job = sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    let queued = sandbox.queued();
    sandbox.act_on_job(job, "cancel");
    assert_eq!(sandbox.once(), silent());
    sandbox.age(60);
    // It waited when the queue was asked.
    sandbox.fault("scancel", "sed -i 's/PENDING/RUNNING/' \"$home\"/queue/*");
    assert_eq!(sandbox.once(), silent());
    assert_eq!((sandbox.calls("scancel").len(), sandbox.queued()), (1, queued));
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.states(), ["running"]);
}

#[test]
fn a_job_that_is_taken_and_done_during_a_tick_is_not_lost() {
    let (sandbox, job, id) = launched();
    sandbox.set_queue(&id, &["N/A|RUNNING|None"]);
    sandbox.fault("squeue", ": >\"$home/asked\"; while [ ! -e \"$home/go\" ]; do sleep 0.05; done");
    let command = sandbox.command(&["once"]);
    let run = std::thread::scope(|scope| {
        let tick = scope.spawn(|| sandbox.finish(command));
        for _ in 0..200 {
            if sandbox.path("asked").exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        // By the time that the queue answers the launch has done its work, and the job is gone.
        sandbox.act_on_job(job, "cancel");
        sandbox.set_queue(&id, &["N/A|COMPLETED|None"]);
        sandbox.write("go", "");
        tick.join().unwrap()
    });
    assert_eq!(run, silent());
    assert_eq!(sandbox.states(), ["done: it ended as COMPLETED"]);
}

#[test]
fn tasks_of_an_array_are_cancelled_one_by_one_and_running_ones_are_left() {
    let sandbox = Sandbox::new();
    let jobs: Vec<i64> = (0..4).map(|_| sandbox.job("big")).collect();
    assert_eq!(sandbox.once(), silent());
    let id = sandbox.queued().remove(0);
    sandbox.set_queue(&id, &["1|RUNNING|None", "2-4|PENDING|Priority"]);
    // The running one may have had its job: it is no reason to cancel one more.
    for job in &jobs[1..] {
        sandbox.act_on_job(*job, "cancel");
    }
    tick_twice(&sandbox);
    assert_eq!(sandbox.calls("scancel"), [format!("--state=PENDING {id}_3 {id}_4")]);
    let launch = &sandbox.launches()[0];
    assert_eq!((&launch["state"], &launch["waiting"]), (&json!("queued"), &json!(1)));
}

#[test]
fn a_lost_launch_is_made_again_after_a_while_and_given_up_in_the_end() {
    let sandbox = Sandbox::new();
    let job = sandbox.job("big");
    for round in 1..=5 {
        assert_eq!(sandbox.once(), silent());
        let id = sandbox.queued().remove(0);
        sandbox.set_queue(&id, &["N/A|NODE_FAIL|None"]);
        assert_eq!(sandbox.once(), silent());
        assert_eq!(sandbox.states().len(), round);
        assert_eq!(sandbox.states()[round - 1], "lost: it ended as NODE_FAIL");
        sandbox.remove(&format!("queue/{id}"));
        // Nothing before the wait is over.
        assert_eq!(sandbox.once(), silent());
        assert_eq!(sandbox.queued(), [""; 0]);
        sandbox.age(1800);
    }
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.calls("sbatch").len(), 5);
    let status = sandbox.run(&["status"]).stdout;
    let expected =
        format!("big: job {job} is given up after 5 lost launches: retry in GitLab once they work");
    assert!(status.contains(&expected), "{status}");
}

#[test]
fn a_short_job_that_is_done_between_two_questions_is_not_lost() {
    let (sandbox, job, id) = launched();
    sandbox.set_queue(&id, &["N/A|RUNNING|None"]);
    assert_eq!(sandbox.once(), silent());
    // The batch system answers slowly; meanwhile the job ends, and its launch with it.
    sandbox.fault("squeue", ": >\"$home/asked\"; while [ ! -e \"$home/go\" ]; do sleep 0.05; done");
    let child = sandbox.command(&["once"]).spawn().unwrap();
    while !sandbox.path("asked").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    sandbox.act_on_job(job, "cancel");
    sandbox.set_queue(&id, &["N/A|COMPLETED|None"]);
    sandbox.write("go", "");
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(sandbox.states(), ["done: it ended as COMPLETED"]);
}

#[test]
fn an_accounting_that_lags_behind_keeps_no_launch_alive() {
    let (sandbox, _, id) = launched();
    sandbox.remove(&format!("queue/{id}"));
    sandbox.write("accounting", &format!("{id}|RUNNING\n"));
    sandbox.age(60);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.states(), ["lost: it is gone from the queue"]);
}

#[test]
fn launches_of_an_instance_that_lost_its_registration_are_still_looked_for() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    sandbox.write("data/meta.registrations.toml", "version = 1\n");
    sandbox.age(60);
    let told = "error: instance `big` has waiting jobs and is not registered\nhint: run `gitlab-meta-runner configure`\n";
    let run = sandbox.once();
    assert_eq!((run.code, run.stderr.as_str()), (Some(5), told));
    // Once, whatever the number of jobs.
    sandbox.job("big");
    assert_eq!(sandbox.once(), Run { code: Some(5), ..silent() });
    assert_eq!(sandbox.states(), ["queued: Priority"]);
}

#[test]
fn a_clock_that_was_put_back_stops_nothing() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    let contacts = |sandbox: &Sandbox| {
        sandbox.gitlab.requests().iter().filter(|r| r["route"] == "/api/v4/runners/managers").count()
    };
    let before = contacts(&sandbox);
    // The ledger of another login node, two hours ahead.
    let text = sandbox.ledger().to_string();
    let now = sandbox.ledger()["keep_alive"]["big"].as_u64().unwrap();
    sandbox.write("data/meta.launches.json", &text.replace(&now.to_string(), &(now + 7200).to_string()));
    assert_eq!(sandbox.once(), silent());
    sandbox.age(600);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(contacts(&sandbox), before + 1);
}

#[test]
fn the_accounting_tells_how_a_launch_ended() {
    let (sandbox, _, id) = launched();
    sandbox.remove(&format!("queue/{id}"));
    sandbox.write("accounting", &format!("{id}|TIMEOUT\n"));
    sandbox.age(60);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.states(), ["lost: it ended as TIMEOUT"]);
}

#[test]
fn a_batch_system_that_is_away_is_unknown_and_not_empty() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    sandbox.job("big");
    sandbox.fault("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1");
    // An hour of minutes: cron's mail is one, and so is the next one's first.
    let mut told = Vec::new();
    for minute in 0..=60 {
        let run = sandbox.once();
        assert_eq!((run.code, run.stdout.as_str()), (Some(5), ""), "{run:?}");
        if !run.stderr.is_empty() {
            assert!(run.stderr.contains("Unable to contact slurm controller"), "{run:?}");
            told.push(minute);
        }
        sandbox.age(60);
    }
    assert_eq!(told, [0, 60]);
    let status = sandbox.run(&["status"]).stdout;
    assert!(status.contains("\ntrouble with the batch system for 1 h: "), "{status}");
    assert_eq!((sandbox.calls("sbatch").len(), sandbox.states()), (1, vec!["queued".to_owned()]));
    sandbox.remove("faults/squeue");
    let end = Run { stderr: "warning: the batch system: it works again\n".to_owned(), ..silent() };
    assert_eq!(sandbox.once(), end);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued().len(), 2);
    assert!(!sandbox.run(&["status"]).stdout.contains("trouble"));
}

#[test]
fn a_gitlab_that_is_away_changes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    let before = sandbox.launches();
    sandbox.gitlab.add_fault(json!({"route": "* *", "times": 1000, "answer": {"status": {"status": 500}}}));
    let run = sandbox.once();
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(run.stderr.contains("answered 500"), "{run:?}");
    for _ in 0..3 {
        assert_eq!(sandbox.once(), Run { code: Some(4), ..silent() });
    }
    assert_eq!((sandbox.launches(), sandbox.queued().len()), (before, 1));
    // Another trouble is told at once.
    sandbox.gitlab.add_fault(json!({"route": "* *", "times": 1, "answer": {"status": {"status": 403}}}));
}

#[test]
fn a_protected_instance_takes_protected_refs_only() {
    let sandbox = Sandbox::new();
    let before = sandbox.gitlab.requests().len();
    assert_eq!(sandbox.once(), silent());
    let asks_for_refs = |skip: usize| {
        sandbox.gitlab.requests()[skip..].iter().any(|r| r["path"].as_str().unwrap().contains("protected"))
    };
    assert!(!asks_for_refs(before));
    sandbox.instance("safe", json!({ "protected": true }));
    sandbox.configure("[runners.safe]\ntags = [\"safe\"]\nprotected = true\n", "");
    let job = json!({ "tags": ["safe"], "script": "true" });
    sandbox.gitlab.enqueue_with(json!({ "project": "group/project", "ref": "feature", "job": job.clone() }));
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued(), [""; 0]);
    sandbox.gitlab.enqueue_with(json!({ "project": "group/project", "ref": "main", "job": job }));
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued().len(), 1);
    assert!(asks_for_refs(before));
}

#[test]
fn without_a_scheduler_launches_age_out() {
    let sandbox = Sandbox::new();
    let launch =
        "executable = \"sh\"\nargs = [\"-c\", \"echo started >>$HOME/started.calls\"]\nstart_grace = 100";
    let head = sandbox.head();
    sandbox.configure_with(&head, BIG, launch);
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    sandbox.age(99);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.calls("started").len(), 1);
    sandbox.age(1);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.states(), ["lost: it had time enough to take a job"]);
    sandbox.age(30);
    assert_eq!(sandbox.once(), silent());
    assert_eq!((sandbox.calls("started").len(), sandbox.calls("squeue").len()), (2, 0));
}

#[test]
fn batch_jobs_do_not_see_our_token() {
    let sandbox = Sandbox::new();
    let head = format!("url = \"{}\"\nproject = \"group/project\"", sandbox.gitlab.url());
    sandbox.configure_with(&head, BIG, "executable = \"sbatch\"");
    sandbox.fault("before", "env >\"$home/seen\"");
    sandbox.job("big");
    let mut command = sandbox.command(&["once", "-vvv"]);
    command.env("META_RUNNER_MANAGEMENT_TOKEN", &sandbox.token);
    let run: Run = sandbox.finish(command);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(!run.stderr.contains(&sandbox.token) && run.stderr.contains("GET URL"), "{run:?}");
    let seen = std::fs::read_to_string(sandbox.path("seen")).unwrap();
    assert!(seen.contains("HOME=") && !seen.contains(&sandbox.token), "{seen}");
}
