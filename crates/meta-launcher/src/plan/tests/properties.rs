//! What holds for all ticks.

use proptest::prelude::*;

use super::*;

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
