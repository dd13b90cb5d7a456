//! The fields in which a runner is not as it should be.

use std::fmt::Display;

use meta_gitlab::runners::{NewRunner, Owner, Runner, RunnerChange};

use super::FieldChange;

/// The change to send and the same for people; None if the runner is as it should be.
pub(super) fn difference(desired: &NewRunner, runner: &Runner) -> Option<(RunnerChange, Vec<FieldChange>)> {
    let mut fields = Vec::new();
    let mut compare = Comparison { fields: &mut fields };
    let timeout =
        |seconds: Option<u64>| seconds.map_or_else(|| "none".to_owned(), |seconds| seconds.to_string());
    let tags = |tags: &[String]| format!("[{}]", tags.join(", "));
    let mut wanted_tags = desired.tags.clone();
    wanted_tags.sort();
    let change = RunnerChange {
        description: compare
            .field("description", &runner.description, &desired.description, |text| format!("{text:?}")),
        tags: compare.field("tags", &runner.tags, &wanted_tags, |list| tags(list)),
        run_untagged: compare.plain("run_untagged", runner.run_untagged, desired.run_untagged),
        protected: compare.plain("protected", runner.protected, desired.protected),
        // GitLab knows no locked group runners.
        locked: match desired.owner {
            Owner::Project(_) => compare.plain("locked", runner.locked, desired.locked),
            Owner::Group(_) => None,
        },
        maximum_timeout_s: compare.field(
            "maximum_timeout",
            &runner.maximum_timeout_s,
            &desired.maximum_timeout_s,
            |seconds| timeout(*seconds),
        ),
    };
    (!fields.is_empty()).then_some((change, fields))
}

struct Comparison<'a> {
    fields: &'a mut Vec<FieldChange>,
}

impl Comparison<'_> {
    fn field<T: PartialEq + Clone>(
        &mut self,
        field: &'static str,
        old: &T,
        new: &T,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if old == new {
            return None;
        }
        self.fields.push(FieldChange { field, old: show(old), new: show(new) });
        Some(new.clone())
    }

    fn plain<T: PartialEq + Clone + Display>(&mut self, field: &'static str, old: T, new: T) -> Option<T> {
        self.field(field, &old, &new, T::to_string)
    }
}
