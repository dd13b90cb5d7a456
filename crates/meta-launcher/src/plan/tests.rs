//! Tables of ticks, and what holds for all of them.

use meta_core::launches::Surplus;
use proptest::prelude::*;

use super::*;
use crate::facts::{Batch, Job, Obstacle, QueueEntry, QueueState};
use crate::testing::{NOW, entry, facts, job, launch};

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

const TAGS: [&str; 3] = ["a", "b", "c"];

fn any_facts() -> impl Strategy<Value = Facts> {
    let state = prop_oneof![
        Just(State::Submitting),
        Just(State::Queued),
        Just(State::Running),
        Just(State::Unknown),
        Just(State::Done),
        Just(State::Lost),
        Just(State::Failed)
    ];
    let launches = proptest::collection::vec((0..3usize, state, 1u32..4, 0u64..300, 0u64..20), 0..8);
    let jobs = proptest::collection::vec(
        (0..4usize, proptest::option::weighted(0.3, 1u64..5), any::<bool>()),
        0..20,
    );
    let seen = proptest::collection::vec(0..4u8, 8);
    let limits = (1u32..12, 1u32..4, proptest::option::of(1u32..4), -1i64..2, 1u32..4);
    (launches, jobs, seen, limits).prop_map(
        |(launches, jobs, seen, (max_in_flight, group_size, max_launches, priority, max_array))| {
            let mut facts = facts(&TAGS);
            let b = facts.instances.get_mut(&"b".parse().unwrap()).unwrap();
            (b.max_launches, b.launch_priority) = (max_launches, priority);
            (facts.limits.max_in_flight, facts.limits.group_size) = (max_in_flight, group_size);
            facts.sites.values_mut().for_each(|site| site.max_array = max_array);
            for (number, (instance, state, slots, age, for_job)) in (1..).zip(launches) {
                facts.launches.push(Launch {
                    state,
                    slots,
                    changed: NOW - age,
                    runs: if state == State::Running { vec![NOW - age] } else { Vec::new() },
                    lost_at: (state == State::Lost).then_some((for_job, NOW - 30)).into_iter().collect(),
                    jobs: vec![for_job],
                    ..launch(TAGS[instance], number)
                });
            }
            let queue = (1..).zip(&seen).take(facts.launches.len()).filter_map(|(number, kind)| match kind {
                0 => Some(waits(number)),
                1 => Some(entry(number, QueueState::Running, "RUNNING")),
                2 => Some(entry(number, QueueState::Ended, "FAILED")),
                _ => None,
            });
            facts.batches = vec![Batch::Known(queue.collect())];
            facts.jobs = (0..)
                .zip(jobs)
                .map(|(id, (tag, runner, pending))| Job {
                    project: id % 3,
                    runner,
                    pending: pending || runner.is_none(),
                    ..job(id, ["a", "b", "c", "x"][tag])
                })
                .collect();
            facts
        },
    )
}

fn slots_asked(plan: &Plan, name: &InstanceName) -> u64 {
    let slots = |action: &Action| match action {
        Action::Launch(new) if new.instance == *name => u64::from(new.slots) * u64::from(new.elements),
        _ => 0,
    };
    plan.actions.iter().map(slots).sum()
}

proptest! {
    #[test]
    fn never_more_supply_than_need_plus_one_group_and_never_over_a_limit(facts in any_facts()) {
        let plan = plan(&facts);
        let mut in_flight = 0;
        for (name, outlook) in &plan.outlooks {
            let launched = slots_asked(&plan, name);
            if launched > 0 {
                prop_assert!(outlook.supply.slots() + launched < outlook.waiting + u64::from(facts.limits.group_size));
            }
            let limit = facts.instances[name].max_launches.unwrap_or(u32::MAX);
            prop_assert!(outlook.launching == 0 || outlook.live() + outlook.launching <= limit);
            in_flight += outlook.live() + outlook.launching;
        }
        let launching: u32 = plan.outlooks.values().map(|outlook| outlook.launching).sum();
        prop_assert!(launching == 0 || in_flight <= facts.limits.max_in_flight);
    }

    #[test]
    fn nothing_is_left_over_while_somebody_wants_it(facts in any_facts()) {
        let plan = plan(&facts);
        let used: u32 = plan.outlooks.values().map(|outlook| outlook.live() + outlook.launching).sum();
        for outlook in plan.outlooks.values() {
            let is_short = outlook.notes.iter().any(|note| matches!(note, Note::MaxInFlight { .. }));
            prop_assert!(!is_short || used >= facts.limits.max_in_flight);
        }
    }

    #[test]
    fn no_project_gets_more_than_its_limit(facts in any_facts(), limit in 1u32..6) {
        let mut facts = facts;
        facts.limits.max_per_project = Some(limit);
        let project_of = |id: &u64| facts.jobs.iter().find(|job| job.id == *id).unwrap().project;
        let actions = plan(&facts).actions;
        for project in 0..3 {
            let has = facts.jobs.iter().filter(|job| job.project == project && !job.is_waiting()).count();
            let asked: usize = actions
                .iter()
                .map(|action| match action {
                    Action::Launch(new) => new.jobs.iter().filter(|id| project_of(id) == project).count(),
                    _ => 0,
                })
                .sum();
            prop_assert!(asked == 0 || asked + has <= limit as usize);
        }
    }

    #[test]
    fn a_launch_is_as_large_as_its_jobs_are_many(facts in any_facts()) {
        for action in plan(&facts).actions {
            if let Action::Launch(new) = action {
                prop_assert_eq!(new.jobs.len(), new.elements as usize * new.slots as usize);
                prop_assert!(new.elements <= facts.sites[&new.instance].max_array);
                prop_assert!(new.slots <= facts.limits.group_size);
            }
        }
    }

    #[test]
    fn more_waiting_jobs_never_mean_fewer_launches(facts in any_facts(), tag in 0..3usize) {
        let before = slots_asked(&plan(&facts), &TAGS[tag].parse().unwrap());
        let mut more = facts;
        more.limits.max_in_flight = u32::MAX;
        more.jobs.push(job(1000, TAGS[tag]));
        prop_assert!(slots_asked(&plan(&more), &TAGS[tag].parse().unwrap()) >= before);
    }

    #[test]
    fn the_order_of_jobs_and_queue_has_no_influence(
        (facts, shuffled, queue) in any_facts().prop_flat_map(|facts| {
            let Batch::Known(queue) = facts.batches[0].clone() else { unreachable!("any_facts knows the queue") };
            (Just(facts.clone()), Just(facts.jobs).prop_shuffle(), Just(queue).prop_shuffle())
        }),
    ) {
        let other = Facts { jobs: shuffled, batches: vec![Batch::Known(queue)], ..facts.clone() };
        prop_assert_eq!(plan(&facts), plan(&other));
    }

    #[test]
    fn nothing_is_launched_for_jobs_that_somebody_has(facts in any_facts()) {
        for action in plan(&facts).actions {
            if let Action::Launch(NewLaunch { instance, jobs, .. }) = action {
                for id in jobs {
                    let job = facts.jobs.iter().find(|job| job.id == id).unwrap();
                    prop_assert!(job.is_waiting() && job.tags == [instance.as_str()]);
                }
            }
        }
    }

    #[test]
    fn a_tick_after_its_own_launches_launches_nothing(facts in any_facts()) {
        let mut after = facts.clone();
        after.launches = settled(&facts);
        let Batch::Known(mut queue) = facts.batches[0].clone() else { unreachable!("any_facts knows the queue") };
        for (number, action) in (100..).zip(plan(&facts).actions) {
            if let Action::Launch(NewLaunch { instance, elements, slots, jobs }) = action {
                after.launches.push(Launch { elements, slots, jobs, ..launch(instance.as_str(), number) });
                let tasks = if elements > 1 { vec![1..=elements] } else { Vec::new() };
                queue.push(QueueEntry { tasks, ..waits(number) });
            }
        }
        after.batches = vec![Batch::Known(queue)];
        // Other limits may be free again; need and supply are not.
        let actions = plan(&after).actions;
        prop_assert!(actions.iter().all(|action| !matches!(action, Action::Launch(_))), "{actions:?}");
    }
}
