//! A table of cases, and what holds for all inputs.

use super::*;
use proptest::prelude::*;

fn instance(tags: &[&str]) -> InstanceConfig {
    let mut tags: Vec<String> = tags.iter().map(|&tag| tag.to_owned()).collect();
    tags.sort();
    InstanceConfig {
        tags,
        launch_priority: 0,
        run_untagged: false,
        protected: false,
        locked: None,
        maximum_timeout_s: None,
        description: None,
        max_launches: None,
        config_variables: BTreeMap::new(),
    }
}

fn instances(list: Vec<(&str, InstanceConfig)>) -> BTreeMap<InstanceName, InstanceConfig> {
    list.into_iter().map(|(name, instance)| (name.parse().unwrap(), instance)).collect()
}

fn wish(job: u64, tags: &[&str]) -> Wish {
    Wish { job, tags: tags.iter().map(|&tag| tag.to_owned()).collect(), protected: false }
}

/// The instance of a single job, or the reason why there is none.
#[track_caller]
fn check(instances: &BTreeMap<InstanceName, InstanceConfig>, wish: Wish, expected: &str) {
    let matches = match_jobs(instances, &[wish]);
    let found = match matches.by_instance.keys().next() {
        Some(name) => name.to_string(),
        None => matches.unmatched.values().map(ToString::to_string).collect(),
    };
    assert_eq!(found, expected);
}

#[test]
fn the_smallest_superset_takes_the_job() {
    let instances = instances(vec![
        ("big", instance(&["cpu", "gpu", "big"])),
        ("gpu", instance(&["cpu", "gpu"])),
        ("cpu", instance(&["cpu"])),
    ]);
    check(&instances, wish(1, &["cpu"]), "cpu");
    check(&instances, wish(1, &["gpu"]), "gpu");
    check(&instances, wish(1, &["gpu", "cpu"]), "gpu");
    check(&instances, wish(1, &["big"]), "big");
    check(&instances, wish(1, &["gpu", "gpu"]), "gpu");
    check(&instances, wish(1, &["GPU"]), "no instance has `GPU`");
    check(&instances, wish(1, &["arm", "cpu", "avx"]), "no instance has `arm`, `avx`");
    check(&instances, wish(1, &[]), "it has no tags, and no instance has `run_untagged`");
}

#[test]
fn tags_spread_over_instances_do_not_add_up() {
    let instances = instances(vec![("a", instance(&["x"])), ("b", instance(&["y"]))]);
    check(&instances, wish(1, &["y", "x"]), "no instance has all of `x`, `y`");
}

#[test]
fn priority_then_name_decide_between_equal_sets() {
    let first = InstanceConfig { launch_priority: 5, ..instance(&["a", "b"]) };
    let set =
        instances(vec![("one", instance(&["a", "c"])), ("two", first), ("three", instance(&["a", "d"]))]);
    check(&set, wish(1, &["a"]), "two");
    let set = instances(vec![("one", instance(&["a", "c"])), ("alpha", instance(&["a", "d"]))]);
    check(&set, wish(1, &["a"]), "alpha");
}

#[test]
fn untagged_jobs_go_where_they_are_allowed_and_tagged_ones_are_not_kept_out() {
    let open = InstanceConfig { run_untagged: true, ..instance(&["a"]) };
    let set = instances(vec![("tagged", instance(&["b"])), ("open", open)]);
    check(&set, wish(1, &[]), "open");
    check(&set, wish(1, &["a"]), "open");
    check(&set, wish(1, &["b"]), "tagged");
}

#[test]
fn protected_instances_take_protected_refs_only() {
    let set = instances(vec![("safe", InstanceConfig { protected: true, ..instance(&["a"]) })]);
    let protected = Wish { protected: true, ..wish(1, &["a"]) };
    check(&set, protected.clone(), "safe");
    check(&set, wish(1, &["a"]), "only protected instances have its tags, and its ref is not protected");
    // The other way round: a protected ref may run anywhere.
    check(&instances(vec![("any", instance(&["a"]))]), protected, "any");
}

const TAGS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn any_tags() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(TAGS.to_vec(), 0..=4)
}

fn any_instance() -> impl Strategy<Value = InstanceConfig> {
    (any_tags(), -1i64..2, any::<bool>(), any::<bool>()).prop_map(
        |(tags, launch_priority, run_untagged, protected)| InstanceConfig {
            launch_priority,
            run_untagged,
            protected,
            ..instance(&tags)
        },
    )
}

fn any_instances() -> impl Strategy<Value = BTreeMap<InstanceName, InstanceConfig>> {
    proptest::collection::vec(any_instance(), 0..6).prop_map(|list| {
        list.into_iter()
            .enumerate()
            .map(|(i, instance)| (format!("i{i}").parse().unwrap(), instance))
            .collect()
    })
}

fn any_wishes() -> impl Strategy<Value = Vec<Wish>> {
    proptest::collection::vec((any_tags(), any::<bool>()), 0..12).prop_map(|list| {
        list.iter()
            .zip(1..)
            .map(|((tags, protected), job)| Wish { protected: *protected, ..wish(job, tags) })
            .collect()
    })
}

proptest! {
    #[test]
    fn the_order_of_jobs_has_no_influence(
        (wishes, shuffled) in any_wishes().prop_flat_map(|w| (Just(w.clone()), Just(w).prop_shuffle())),
        instances in any_instances(),
    ) {
        prop_assert_eq!(match_jobs(&instances, &wishes), match_jobs(&instances, &shuffled));
    }

    #[test]
    fn every_job_is_matched_once_by_the_rules_or_named(wishes in any_wishes(), instances in any_instances()) {
        let matches = match_jobs(&instances, &wishes);
        let may_take = |instance: &InstanceConfig, wish: &Wish| {
            let tags_fit = if wish.tags.is_empty() {
                instance.run_untagged
            } else {
                wish.tags.iter().all(|tag| instance.tags.contains(tag))
            };
            tags_fit && (wish.protected || !instance.protected)
        };
        for wish in &wishes {
            let takers: Vec<_> =
                matches.by_instance.iter().filter(|(_, jobs)| jobs.contains(&wish.job)).map(|(name, _)| *name).collect();
            let able: Vec<_> = instances.iter().filter(|(_, instance)| may_take(instance, wish)).collect();
            if able.is_empty() {
                prop_assert!(takers.is_empty() && matches.unmatched.contains_key(&wish.job));
            } else {
                prop_assert!(takers.len() == 1 && !matches.unmatched.contains_key(&wish.job));
                let taker = &instances[takers[0]];
                prop_assert!(may_take(taker, wish));
                prop_assert!(able.iter().all(|(_, other)| taker.tags.len() <= other.tags.len()));
            }
        }
    }
}
