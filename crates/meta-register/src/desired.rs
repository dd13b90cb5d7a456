//! The runners that the configuration asks for, and the mark that makes a runner ours (contracts, section 5).

use std::collections::BTreeMap;

use meta_core::config::Config;
use meta_core::name::InstanceName;
use meta_gitlab::runners::{NewRunner, Owner};

/// What GitLab should have, by instance.
pub(crate) type Desired = BTreeMap<InstanceName, DesiredRunner>;

/// One runner as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredRunner {
    pub(crate) runner: NewRunner,
    /// All projects that it serves; empty for a group's runner.
    pub(crate) projects: Vec<u64>,
}

/// Puts names, marks and owners together. `owners` has at least one entry; the first one owns the runners.
pub(crate) fn desired(config: &Config, owners: &[Owner]) -> Desired {
    let projects: Vec<u64> = owners
        .iter()
        .filter_map(|owner| match owner {
            Owner::Project(id) => Some(*id),
            Owner::Group(_) => None,
        })
        .collect();
    let meta_runner = config.name.as_str();
    let runner = |name: &InstanceName, instance: &meta_core::config::instances::InstanceConfig| NewRunner {
        owner: owners[0],
        description: match &instance.description {
            // GitLab takes spaces at the ends away, and would show a difference for ever.
            Some(text) => format!("{} {}", text.trim(), short_mark(meta_runner, name)).trim().to_owned(),
            None => format!("{meta_runner}/{name} on the batch system {}", short_mark(meta_runner, name)),
        },
        tags: instance.tags.clone(),
        run_untagged: instance.run_untagged,
        protected: instance.protected,
        // A locked runner cannot be given to further projects; a group's runner has none.
        locked: instance.locked.unwrap_or(matches!(owners, [Owner::Project(_)])),
        maximum_timeout_s: instance.maximum_timeout_s,
        maintenance_note: note(meta_runner, name.as_str()),
    };
    config
        .instances
        .iter()
        .map(|(name, instance)| {
            let runner = runner(name, instance);
            (name.clone(), DesiredRunner { runner, projects: projects.clone() })
        })
        .collect()
}

/// Whether a description looks like that of a runner of ours. Lists have nothing better; [`owner_of_note`] decides.
pub(crate) fn looks_like_ours(meta_runner: &str, description: &str) -> bool {
    description.strip_suffix(']').is_some_and(|text| text.contains(&format!(" [{meta_runner}/")))
}

/// The instance whose mark a maintenance note is, if it is one of ours.
pub(crate) fn owner_of_note(meta_runner: &str, note: &str) -> Option<InstanceName> {
    note.strip_prefix(&self::note(meta_runner, ""))?.parse().ok()
}

fn short_mark(meta_runner: &str, instance: &InstanceName) -> String {
    format!("[{meta_runner}/{instance}]")
}

fn note(meta_runner: &str, instance: &str) -> String {
    format!("managed-by: gitlab-meta-runner/{meta_runner}/{instance}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_recognised_exactly() {
        assert!(looks_like_ours("meta", "GPU nodes [meta/a.b]"));
        assert!(!looks_like_ours("meta", "GPU nodes [meta2/a]") && !looks_like_ours("meta", "meta/a"));
        let owner = |note| owner_of_note("meta", note).map(|name| name.to_string());
        assert_eq!(owner("managed-by: gitlab-meta-runner/meta/a.b"), Some("a.b".to_owned()));
        assert_eq!(owner("managed-by: gitlab-meta-runner/meta/a b"), None);
        assert_eq!(owner("managed-by: gitlab-meta-runner/meta2/a"), None);
        assert_eq!(owner("see managed-by: gitlab-meta-runner/meta/a"), None);
    }
}
