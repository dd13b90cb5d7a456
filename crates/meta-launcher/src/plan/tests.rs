//! Tables of ticks.

use meta_core::launches::Surplus;

use super::*;
use crate::facts::{Batch, Job, Obstacle, QueueEntry, QueueState};
use crate::testing::{NOW, entry, facts, job, launch};

mod properties;

/// The launches of a plan as `instance:slots[jobs]`, and its cancellations as `-id`.
fn asked(facts: &Facts) -> Vec<String> {
    let line = |action: &Action| match action {
        Action::Cancel(cancelled) => Some(format!("-{}{:?}", cancelled[0].id, cancelled[0].tasks)),
        Action::Launch(NewLaunch { instance, elements: 1, slots, jobs }) => {
            Some(format!("{instance}:{slots}{jobs:?}"))
        }
        Action::Launch(NewLaunch { instance, elements, slots, jobs }) => {
            Some(format!("{instance}:{elements}x{slots}{jobs:?}"))
        }
        _ => None,
    };
    plan(facts).actions.iter().filter_map(line).collect()
}

fn notes(facts: &Facts, instance: &str) -> Vec<String> {
    plan(facts).outlooks[&instance.parse().unwrap()].notes.iter().map(ToString::to_string).collect()
}

fn queue(entries: Vec<QueueEntry>) -> Batch {
    Batch::Known(entries)
}

fn waits(number: u64) -> QueueEntry {
    entry(number, QueueState::Waiting, "Priority")
}

#[test]
fn each_waiting_job_asks_for_a_launch_and_no_second_one() {
    let mut facts = facts(&["a", "b"]);
    facts.jobs = vec![job(8, "b"), job(7, "a"), job(6, "c")];
    assert_eq!(asked(&facts), ["a:1[7]", "b:1[8]"]);
    assert_eq!(plan(&facts).unmatched.keys().collect::<Vec<_>>(), [&6]);
    facts.launches = vec![Launch { jobs: vec![7], ..launch("a", 1) }];
    facts.batches = vec![queue(vec![waits(1)])];
    assert_eq!(asked(&facts), ["b:1[8]"]);
}

#[test]
fn an_obstacle_is_told_and_stops_launches_of_its_instance_only() {
    let mut facts = facts(&["a", "b"]);
    facts.jobs = vec![job(7, "a"), job(8, "b")];
    facts.sites.get_mut(&"a".parse().unwrap()).unwrap().obstacle = Some(Obstacle::Paused);
    assert_eq!(asked(&facts), ["b:1[8]"]);
    assert_eq!(
        notes(&facts, "a"),
        ["its runner is paused in GitLab: nothing is launched until somebody resumes it"]
    );
    // Neither a launch that waits already nor its supply changes by that.
    facts.launches = vec![Launch { jobs: vec![7], ..launch("a", 1) }];
    facts.batches = vec![queue(vec![waits(1)])];
    assert_eq!((asked(&facts), notes(&facts, "a").len()), (vec!["b:1[8]".to_owned()], 1));
    facts.jobs.remove(0);
    assert_eq!(notes(&facts, "a"), [""; 0]);
}

#[test]
fn a_job_that_was_handed_out_asks_for_nothing() {
    let mut facts = facts(&["a"]);
    facts.jobs = vec![Job { runner: Some(99), ..job(7, "a") }];
    assert_eq!(asked(&facts), [""; 0]);
}

#[test]
fn a_running_launch_counts_until_its_grace_is_over_and_not_once_it_has_a_job() {
    let mut facts = facts(&["a"]);
    facts.launches = vec![launch("a", 1)];
    facts.jobs = vec![job(7, "a")];
    let mut running = |elapsed_s, active: u64| {
        facts.batches = vec![queue(vec![QueueEntry {
            elapsed_s: Some(elapsed_s),
            ..entry(1, QueueState::Running, "RUNNING")
        }])];
        facts.jobs.truncate(1);
        facts.jobs.extend((0..active).map(|i| Job { runner: Some(1), pending: false, ..job(100 + i, "a") }));
        asked(&facts).len()
    };
    assert_eq!(running(120, 0), 0);
    assert_eq!(running(121, 0), 1);
    assert_eq!(running(10, 1), 1);
}

#[test]
fn jobs_are_grouped_and_the_last_group_is_as_small_as_it_can_be() {
    let mut facts = facts(&["a"]);
    facts.limits.group_size = 2;
    facts.jobs = (1..=5).map(|id| job(id, "a")).collect();
    assert_eq!(asked(&facts), ["a:2[1, 2]", "a:2[3, 4]", "a:1[5]"]);
}

#[test]
fn priority_is_strict_and_what_a_capped_instance_leaves_goes_on() {
    let mut facts = facts(&["a", "b"]);
    facts.jobs = vec![job(1, "a"), job(2, "a"), job(3, "b"), job(4, "b")];
    facts.instances.get_mut(&"b".parse().unwrap()).unwrap().launch_priority = 1;
    facts.limits.max_in_flight = 3;
    assert_eq!(asked(&facts), ["b:1[3]", "b:1[4]", "a:1[1]"]);
    assert_eq!(notes(&facts, "a"), ["more waiting jobs (1) than `max_in_flight` = 3 lets through"]);
    facts.instances.get_mut(&"b".parse().unwrap()).unwrap().max_launches = Some(1);
    assert_eq!(asked(&facts), ["b:1[3]", "a:1[1]", "a:1[2]"]);
    assert_eq!(notes(&facts, "b"), ["more waiting jobs (1) than `max_launches` = 1 lets through"]);
}

#[test]
fn nothing_is_launched_blindly() {
    let mut facts = facts(&["a"]);
    facts.jobs = vec![job(7, "a")];
    facts.batches = vec![Batch::Unknown];
    assert_eq!(asked(&facts), [""; 0]);
    assert_eq!(notes(&facts, "a"), ["nothing is launched while the queue cannot be read"]);
    // Without a scheduler nothing is asked of it.
    facts.batches = vec![Batch::Known(Vec::new())];
    facts.sites.values_mut().for_each(|site| site.place = Place::Nowhere);
    assert_eq!(asked(&facts), ["a:1[7]"]);
    facts.sites.clear();
    assert_eq!(asked(&facts), [""; 0]);
    assert_eq!(notes(&facts, "a"), ["not registered: run `meta-register`"]);
}

#[test]
fn a_lost_launch_comes_back_after_a_while_and_not_for_ever() {
    let mut facts = facts(&["a"]);
    facts.jobs = vec![job(7, "a")];
    facts.launches = vec![Launch { jobs: vec![7], ..launch("a", 1) }];
    assert_eq!(asked(&facts), [""; 0]);
    assert_eq!(notes(&facts, "a"), ["the launch for job 7 was lost, next try in 30 s"]);
    let Some(Action::Settle(lost)) = plan(&facts).actions.pop() else { panic!("the launch is not settled") };
    facts.launches = vec![lost.clone()];
    facts.now += 30;
    assert_eq!(asked(&facts), ["a:1[7]"]);
    facts.launches = vec![lost; 5];
    facts.now += 10_000;
    assert_eq!(
        notes(&facts, "a"),
        ["job 7 is given up after 5 lost launches: retry in GitLab once they work"]
    );
}

#[test]
fn jobs_whose_launches_were_lost_are_told_together() {
    let mut facts = facts(&["a"]);
    facts.jobs = vec![job(7, "a"), job(8, "a"), job(9, "a"), job(10, "a")];
    let lost =
        |job, ago| Launch { state: State::Lost, lost_at: [(job, NOW - ago)].into(), ..launch("a", job) };
    facts.launches = vec![lost(7, 0), lost(8, 10), lost(9, 40)];
    facts.launches.extend(vec![lost(10, 100); 5]);
    assert_eq!(asked(&facts), ["a:1[9]"]);
    let expected = [
        "the launch for jobs 8, 7 was lost, next try in 20 s",
        "job 10 is given up after 5 lost launches: retry in GitLab once they work",
    ];
    assert_eq!(notes(&facts, "a"), expected);
}

#[test]
fn a_cluster_that_is_unknown_holds_back_its_own_instances_and_cancels_nothing_there() {
    let mut facts = facts(&["a", "b"]);
    facts.sites.get_mut(&"b".parse().unwrap()).unwrap().place = Place::Queue(1);
    facts.batches.push(Batch::Unknown);
    facts.jobs = vec![job(7, "a"), job(8, "b")];
    assert_eq!(asked(&facts), ["a:1[7]"]);
    // The same batch id in both.
    let surplus = Some(Surplus { since: NOW - 60, elements: 1 });
    facts.launches = vec![Launch { surplus, ..launch("a", 1) }, Launch { surplus, ..launch("b", 1) }];
    facts.batches[0] = queue(vec![waits(1)]);
    facts.jobs.clear();
    assert_eq!(asked(&facts), ["-L1[]"]);
    facts.batches[1] = queue(vec![waits(1)]);
    assert_eq!(asked(&facts), ["-L1[]", "-L1[]"], "each in its own");
}

#[test]
fn a_refused_instance_waits_while_the_others_go_on() {
    let mut facts = facts(&["a", "b"]);
    facts.jobs = vec![job(7, "a"), job(8, "b")];
    let reason = Some("invalid account".to_owned());
    facts.launches = vec![Launch { state: State::Failed, changed: NOW - 10, reason, ..launch("a", 1) }];
    assert_eq!(asked(&facts), ["b:1[8]"]);
    assert_eq!(notes(&facts, "a"), ["the submission was refused, next try in 20 s: invalid account"]);
    facts.launches[0].refused_config = Some("now".to_owned());
    facts.now += 1_000_000;
    assert!(notes(&facts, "a")[0].contains("for good"));
}

#[test]
fn a_surplus_launch_is_cancelled_at_the_second_look() {
    let mut facts = facts(&["a"]);
    facts.launches = vec![launch("a", 1), launch("a", 2)];
    facts.batches = vec![queue(vec![waits(1), waits(2)])];
    facts.jobs = vec![job(7, "a")];
    assert_eq!(asked(&facts), [""; 0]);
    facts.launches = settled(&facts);
    let noted: Vec<_> = facts.launches.iter().map(|l| l.surplus.map(|s| (s.since, s.elements))).collect();
    assert_eq!(noted, [None, Some((NOW, 1))]);
    facts.now += 14;
    assert_eq!(asked(&facts), [""; 0]);
    facts.now += 1;
    assert_eq!(asked(&facts), ["-L2[]"]);
    // Not while a project did not answer, and not once somebody needs it.
    let partial = Facts { jobs_complete: false, ..facts.clone() };
    assert_eq!(asked(&partial), [""; 0]);
    facts.jobs.push(job(8, "a"));
    assert_eq!(asked(&facts), [""; 0]);
    assert_eq!(settled(&facts)[1].surplus, None);
}

#[test]
fn elements_that_are_surplus_for_the_first_time_are_left_though_others_were_before() {
    let mut facts = facts(&["a"]);
    facts.launches = vec![Launch { elements: 9, ..launch("a", 1) }];
    let tasks = |last| QueueEntry { tasks: vec![1..=last], ..waits(1) };
    let mut look = |last, jobs: u64| {
        facts.now += 30;
        facts.batches = vec![queue(vec![tasks(last)])];
        facts.jobs = (1..=jobs).map(|id| job(id, "a")).collect();
        let asked = asked(&facts);
        facts.launches = settled(&facts);
        asked
    };
    assert_eq!(look(9, 8), [""; 0]);
    assert_eq!(look(9, 5), ["-L1[9]"]);
    assert_eq!(look(8, 5), ["-L1[6, 7, 8]"]);
    // What was cancelled is forgotten: the next one needs two looks again.
    assert_eq!(look(5, 4), [""; 0]);
    assert_eq!(look(5, 4), ["-L1[5]"]);
}

#[test]
fn a_queue_that_moves_between_the_two_questions_shows_no_surplus() {
    let mut facts = facts(&["a"]);
    facts.launches = vec![Launch { elements: 20, ..launch("a", 1) }];
    let first = |state, tasks: std::ops::RangeInclusive<u32>| QueueEntry {
        tasks: vec![tasks],
        ..entry(1, state, "Priority")
    };
    // Two elements have started, found their jobs and ended each time, after the batch system was asked and before GitLab is.
    for done in (0..18).step_by(2) {
        facts.now += 30;
        facts.batches = vec![queue(vec![first(QueueState::Waiting, done + 1..=20)])];
        facts.jobs = (u64::from(done) + 3..=20).map(|id| job(id, "a")).collect();
        assert_eq!(asked(&facts), [""; 0], "{done}");
        facts.launches = settled(&facts);
        assert_eq!(facts.launches[0].lost_at, BTreeMap::new());
    }
    // One that runs may have had its job: nothing tells.
    facts.jobs = vec![job(20, "a")];
    for _ in 0..3 {
        facts.now += 30;
        facts.batches =
            vec![queue(vec![first(QueueState::Running, 19..=19), first(QueueState::Waiting, 20..=20)])];
        assert_eq!(asked(&facts), [""; 0]);
        facts.launches = settled(&facts);
    }
}

/// The ledger after the plan's settling, and after tasks were cancelled.
fn settled(facts: &Facts) -> Vec<Launch> {
    let mut launches = facts.launches.clone();
    for action in plan(facts).actions {
        let place = |id: &str| facts.launches.iter().position(|launch| launch.id == id).unwrap();
        match action {
            Action::Settle(now) => {
                let index = place(&now.id);
                launches[index] = now;
            }
            Action::Cancel(cancelled) => {
                for cancellation in cancelled {
                    let launch = &mut launches[place(&cancellation.id)];
                    let left = launch.waiting_elements() - cancellation.tasks.len() as u32;
                    launch.waiting = Some(left);
                }
            }
            _ => {}
        }
    }
    launches
}
