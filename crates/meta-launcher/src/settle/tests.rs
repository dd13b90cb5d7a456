//! What a look at the queue makes of a launch.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::backoff::{LostJobs, Retry};
use crate::testing::{NOW, entry, facts, job, launch};

/// One launch of instance `a`, one queue, jobs that wait: the launch's state, batch id and reason after a tick.
#[track_caller]
fn check(
    launch: Launch,
    queue: Vec<QueueEntry>,
    waiting: &[u64],
    expected: (State, Option<&str>, Option<&str>),
) {
    let facts = Facts {
        launches: vec![launch],
        batches: vec![Batch::Known(queue)],
        jobs: waiting.iter().map(|&id| job(id, "a")).collect(),
        ..facts(&["a"])
    };
    let after = settle(&facts).remove(0);
    assert_eq!((after.state, after.batch_id.as_deref(), after.reason.as_deref()), expected);
}

fn submitting(submitted: u64) -> Launch {
    Launch {
        state: State::Submitting,
        batch_id: None,
        submitted,
        changed: submitted,
        jobs: vec![7],
        ..launch("a", 1)
    }
}

#[test]
fn the_queue_says_where_a_launch_stands() {
    let queued = launch("a", 1);
    check(
        queued.clone(),
        vec![entry(1, QueueState::Waiting, "Priority")],
        &[],
        (State::Queued, Some("1"), Some("Priority")),
    );
    check(queued.clone(), vec![entry(1, QueueState::Waiting, "None")], &[], (State::Queued, Some("1"), None));
    check(
        queued.clone(),
        vec![entry(1, QueueState::Running, "RUNNING")],
        &[],
        (State::Running, Some("1"), None),
    );
    // Another job's entry is none of ours.
    check(
        queued,
        vec![entry(11, QueueState::Running, "RUNNING")],
        &[],
        (State::Done, Some("1"), Some("it is gone from the queue")),
    );
}

#[test]
fn a_queue_that_lags_is_waited_for_since_the_answer_to_the_submission() {
    // The command took 80 s.
    let answered = |ago| Launch { changed: NOW - ago, ..launch("a", 1) };
    check(answered(14), vec![], &[], (State::Queued, Some("1"), None));
    check(answered(15), vec![], &[], (State::Done, Some("1"), Some("it is gone from the queue")));
}

#[test]
fn the_start_is_what_the_batch_system_counts() {
    let running = QueueEntry { elapsed_s: Some(40), ..entry(1, QueueState::Running, "RUNNING") };
    let facts =
        Facts { launches: vec![launch("a", 1)], batches: vec![Batch::Known(vec![running])], ..facts(&["a"]) };
    assert_eq!(settle(&facts)[0].runs, [NOW - 40]);
}

#[test]
fn a_submission_without_answer_is_found_by_its_id_before_anything_is_repeated() {
    let found = vec![entry(1, QueueState::Waiting, "Resources")];
    check(submitting(NOW - 5), found.clone(), &[7], (State::Queued, Some("1"), Some("Resources")));
    let unknown = Launch { state: State::Unknown, ..submitting(NOW - 5000) };
    check(unknown, found, &[7], (State::Queued, Some("1"), Some("Resources")));
    check(
        submitting(NOW - 359),
        vec![],
        &[7],
        (State::Unknown, None, Some("the answer to the submission was lost")),
    );
    check(submitting(NOW - 360), vec![], &[7], (State::Lost, None, Some("it never came to the queue")));
}

#[test]
fn a_lost_launch_that_turns_up_lives_again() {
    let lost = Launch { state: State::Lost, ..submitting(NOW - 300) };
    check(
        lost.clone(),
        vec![entry(1, QueueState::Running, "RUNNING")],
        &[7],
        (State::Running, Some("1"), None),
    );
    check(lost, vec![entry(1, QueueState::Ended, "FAILED")], &[7], (State::Lost, None, None));
}

#[test]
fn a_launch_that_is_gone_is_done_or_lost_as_its_jobs_say() {
    let made_for_7 = Launch { jobs: vec![7], ..launch("a", 1) };
    let ended = vec![entry(1, QueueState::Ended, "NODE_FAIL")];
    check(made_for_7.clone(), ended.clone(), &[], (State::Done, Some("1"), Some("it ended as NODE_FAIL")));
    check(made_for_7.clone(), ended, &[7], (State::Lost, Some("1"), Some("it ended as NODE_FAIL")));
    check(made_for_7.clone(), vec![], &[7], (State::Lost, Some("1"), Some("it is gone from the queue")));
    check(made_for_7, vec![], &[8], (State::Done, Some("1"), Some("it is gone from the queue")));
}

#[test]
fn a_job_that_another_launch_covers_makes_none_lost() {
    // Launch 1 took job 8, which launch 2 was made for; launch 2 still waits and will take job 7.
    let facts = Facts {
        launches: vec![
            Launch { jobs: vec![7], ..launch("a", 1) },
            Launch { jobs: vec![8], ..launch("a", 2) },
        ],
        batches: vec![Batch::Known(vec![entry(2, QueueState::Waiting, "Priority")])],
        jobs: vec![job(7, "a")],
        ..facts(&["a"])
    };
    let states: Vec<State> = settle(&facts).iter().map(|launch| launch.state).collect();
    assert_eq!(states, [State::Done, State::Queued]);
}

#[test]
fn nothing_changes_while_the_queue_is_unknown() {
    let launches = vec![launch("a", 1), submitting(0), Launch { state: State::Running, ..launch("a", 3) }];
    let facts = Facts {
        launches: launches.clone(),
        batches: vec![Batch::Unknown],
        jobs: vec![job(7, "a")],
        ..facts(&["a"])
    };
    assert_eq!(settle(&facts), launches);
}

#[test]
fn launches_that_cannot_be_asked_for_age() {
    let mut facts = facts(&["a"]);
    facts.batches = vec![Batch::Unknown];
    facts.sites.values_mut().for_each(|site| site.place = Place::Nowhere);
    let launched = |age| Launch { submitted: NOW - age, jobs: vec![7], batch_id: None, ..launch("a", 1) };
    facts.launches = vec![launched(120)];
    assert_eq!(settle(&facts), facts.launches);
    facts.launches = vec![launched(121)];
    assert_eq!(settle(&facts)[0].state, State::Done);
    facts.jobs = vec![job(7, "a")];
    assert_eq!(settle(&facts)[0].state, State::Lost);
}

/// Lines of the queue for one array: state, tasks.
fn array(lines: &[(QueueState, std::ops::RangeInclusive<u32>)]) -> Vec<QueueEntry> {
    let line = |(state, tasks): &(QueueState, std::ops::RangeInclusive<u32>)| QueueEntry {
        tasks: vec![tasks.clone()],
        elapsed_s: Some(30),
        ..entry(1, *state, "Priority")
    };
    lines.iter().map(line).collect()
}

#[test]
fn the_elements_of_an_array_are_counted_and_those_that_end_in_vain_are_lost() {
    let made = Launch { elements: 4, jobs: vec![6, 7, 8, 9], ..launch("a", 1) };
    let mut facts = Facts { launches: vec![made], ..facts(&["a"]) };
    facts.batches = vec![Batch::Known(array(&[
        (QueueState::Waiting, 3..=4),
        (QueueState::Running, 1..=1),
        (QueueState::Running, 2..=2),
    ]))];
    facts.jobs = [6, 7, 8, 9].map(|id| job(id, "a")).into();
    facts.launches = settle(&facts);
    let launch = &facts.launches[0];
    assert_eq!((launch.state, launch.waiting_elements(), launch.runs.len()), (State::Queued, 2, 2));
    assert_eq!(lost(launch), [0; 0]);
    // One of the running elements is gone; the other one still looks for a job, and two wait: one job is left.
    facts.batches = vec![Batch::Known(array(&[(QueueState::Waiting, 3..=4), (QueueState::Running, 2..=2)]))];
    facts.launches = settle(&facts);
    let launch = &facts.launches[0];
    assert_eq!((launch.state, launch.live_elements(), lost(launch)), (State::Queued, 3, vec![9]));
    // Nothing more is lost by looking again.
    assert_eq!(settle(&facts), facts.launches);
}

/// The jobs that a launch has lost.
fn lost(launch: &Launch) -> Vec<u64> {
    launch.lost_at.keys().copied().collect()
}

/// How an element of an array ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Without a job.
    InVain,
    /// It has taken the oldest job.
    WithJob,
}

/// An array with an element for each of the jobs 1, 2, ..., of which one ends between two looks, in this way. Calls
/// `check` after each look with the launch and the jobs that still wait.
fn end_one_by_one(ends: &[End], mut check: impl FnMut(u64, &Launch, &BTreeSet<u64>)) {
    let count = ends.len() as u32;
    let mut waiting: BTreeSet<u64> = (1..=u64::from(count)).collect();
    let made = Launch { elements: count, jobs: waiting.iter().copied().collect(), ..launch("a", 1) };
    let mut facts = Facts { launches: vec![made], ..facts(&["a"]) };
    for (&end, ended) in ends.iter().zip(1..) {
        if let End::WithJob = end {
            waiting.pop_first();
        }
        facts.now += 30;
        facts.jobs = waiting.iter().map(|&id| job(id, "a")).collect();
        let left = (ended < count).then_some((QueueState::Waiting, ended + 1..=count));
        let lines: Vec<_> = [(QueueState::Ended, 1..=ended)].into_iter().chain(left).collect();
        facts.batches = vec![Batch::Known(array(&lines))];
        facts.launches = settle(&facts);
        assert_eq!(settle(&facts), facts.launches, "another look at the same shows nothing new");
        check(facts.now, &facts.launches[0], &waiting);
    }
}

#[test]
fn an_array_that_ends_one_by_one_loses_each_job_once_and_at_its_time() {
    let mut seen = Vec::new();
    end_one_by_one(&[End::InVain; 3], |_, launch, _| {
        seen.push((launch.state, launch.lost_at.clone().into_iter().collect::<Vec<_>>()));
    });
    let (first, second, third) = ((3, NOW + 30), (2, NOW + 60), (1, NOW + 90));
    let expected = [
        (State::Queued, vec![first]),
        (State::Queued, vec![second, first]),
        (State::Lost, vec![third, second, first]),
    ];
    assert_eq!(seen, expected);
}

proptest! {
    #[test]
    fn what_an_array_has_lost_in_the_end_is_what_still_waits(vain in proptest::collection::vec(any::<bool>(), 1..12)) {
        let ends: Vec<End> = vain.iter().map(|&vain| if vain { End::InVain } else { End::WithJob }).collect();
        let mut looks = 0;
        end_one_by_one(&ends, |now, launch, waiting| {
            looks += 1;
            let newly = launch.lost_at.values().filter(|&&at| at == now).count();
            assert!(newly <= 1, "one element loses one job: {launch:?}");
            if looks == ends.len() {
                let still: Vec<u64> = lost(launch).into_iter().filter(|job| waiting.contains(job)).collect();
                assert_eq!(still, waiting.iter().copied().collect::<Vec<_>>());
                assert_eq!(launch.state == State::Lost, !waiting.is_empty(), "{launch:?}");
            }
        });
    }
}

#[test]
fn an_array_that_ends_in_vain_does_not_wear_its_jobs_out() {
    end_one_by_one(&[End::InVain; 8], |now, launch, waiting| {
        let lost_jobs = LostJobs::new(std::slice::from_ref(launch));
        for (&job, &at) in &launch.lost_at {
            assert!(waiting.contains(&job));
            let expected = if now < at + 30 { Retry::At(at + 30) } else { Retry::Now };
            assert_eq!(lost_jobs.retry(job, now), expected, "job {job}");
        }
    });
}

#[test]
fn what_changes_later_does_not_make_a_loss_younger() {
    let lost_at = BTreeMap::from([(9, NOW - 25)]);
    let made = Launch { elements: 2, jobs: vec![8, 9], lost_at, waiting: Some(1), ..launch("a", 1) };
    let mut facts = Facts { launches: vec![made], ..facts(&["a"]) };
    facts.jobs = vec![job(8, "a"), job(9, "a")];
    facts.batches = vec![Batch::Known(array(&[(QueueState::Running, 2..=2)]))];
    let after = settle(&facts);
    assert_eq!((after[0].state, after[0].changed), (State::Running, NOW));
    assert_eq!(LostJobs::new(&after).retry(9, NOW), Retry::At(NOW + 5));
}

#[test]
fn a_launch_that_is_out_of_sight_for_a_look_has_lost_nothing() {
    for state in [QueueState::Waiting, QueueState::Running] {
        let mut facts = facts(&["a"]);
        facts.launches = vec![Launch { elements: 3, jobs: vec![7, 8, 9], ..launch("a", 1) }];
        facts.jobs = [7, 8, 9].map(|id| job(id, "a")).into();
        facts.batches = vec![Batch::Known(array(&[(state, 1..=3)]))];
        facts.launches = settle(&facts);
        facts.now += 60;
        facts.batches = vec![Batch::Known(Vec::new())];
        facts.launches = settle(&facts);
        assert_eq!((facts.launches[0].state, lost(&facts.launches[0])), (State::Lost, vec![7, 8, 9]));
        facts.batches = vec![Batch::Known(array(&[(state, 1..=3)]))];
        facts.launches = settle(&facts);
        assert!(facts.launches[0].state.is_live() && facts.launches[0].lost_at.is_empty());
        assert_eq!(facts.launches[0].live_elements(), 3);
    }
}

#[test]
fn an_element_that_is_put_into_the_queue_again_counts_again() {
    let mut facts = facts(&["a"]);
    facts.launches = vec![Launch { elements: 2, jobs: vec![8, 9], ..launch("a", 1) }];
    facts.jobs = [8, 9].map(|id| job(id, "a")).into();
    let mut look = |lines: &[_]| {
        facts.batches = vec![Batch::Known(array(lines))];
        facts.launches = settle(&facts);
        let launch = &facts.launches[0];
        (launch.state, launch.waiting_elements(), launch.running_elements(), lost(launch))
    };
    let both = [(QueueState::Running, 1..=1), (QueueState::Running, 2..=2)];
    assert_eq!(look(&both), (State::Running, 0, 2, vec![]));
    // The node of the second one fails.
    assert_eq!(
        look(&[(QueueState::Running, 1..=1), (QueueState::Waiting, 2..=2)]),
        (State::Queued, 1, 1, vec![])
    );
    assert_eq!(look(&both), (State::Running, 0, 2, vec![]));
    // Both end in vain, and an admin puts both back.
    assert_eq!(look(&[(QueueState::Ended, 1..=2)]), (State::Lost, 0, 0, vec![8, 9]));
    assert_eq!(look(&[(QueueState::Waiting, 1..=2)]), (State::Queued, 2, 0, vec![]));
}

#[test]
fn a_launch_is_not_found_by_another_one_s_longer_id() {
    let marked =
        |mark: &str| QueueEntry { mark: mark.to_owned(), ..entry(1, QueueState::Running, "RUNNING") };
    for mark in ["x/L1", "L1", "gmrL1 by hand", "n|gitlab-meta-runner/m/L1"] {
        assert!(marked(mark).is_marked("L1"), "{mark}");
    }
    for mark in ["L10", "x/L1-2", "0L1", "", "L2"] {
        assert!(!marked(mark).is_marked("L1"), "{mark}");
    }
}
