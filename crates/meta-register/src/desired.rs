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
        description: match instance.description.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            // Trimmed: GitLab takes spaces at the ends away, and would show a difference for ever.
            Some(text) => format!("{text} {}", short_mark(meta_runner, name)),
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

/// The instance whose runner has such a description, by its looks. Lists have nothing better; [`owner_of_note`] decides.
pub(crate) fn owner_by_looks(meta_runner: &str, description: &str) -> Option<InstanceName> {
    let (before, instance) = description.strip_suffix(']')?.rsplit_once(&format!("[{meta_runner}/"))?;
    (before.is_empty() || before.ends_with(' ')).then(|| instance.parse().ok())?
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
    fn a_description_without_text_is_none() {
        let described = |description: &str| {
            let text = format!(
                "name = \"meta\"\nhostname = \"h\"\nproject = \"g/p\"\n[runners.a]\ntags = [\"a\"]\n{description}\n[runner]\nexecutor = \"custom\"\n"
            );
            let config = meta_core::config::parse(std::path::Path::new("x.toml"), &text).unwrap();
            let desired = desired(&config, &[Owner::Project(1)]);
            desired[&"a".parse().unwrap()].runner.description.clone()
        };
        assert_eq!(described("description = \" big nodes \""), "big nodes [meta/a]");
        for none in ["", "description = \"\"", "description = \" \""] {
            assert_eq!(described(none), "meta/a on the batch system [meta/a]");
        }
    }

    #[test]
    fn marks_are_recognised_exactly() {
        let looks = |text| owner_by_looks("meta", text).map(|name| name.to_string());
        assert_eq!(looks("GPU nodes [meta/a.b]"), Some("a.b".to_owned()));
        assert_eq!(looks("[meta/a]"), Some("a".to_owned()));
        for text in ["GPU nodes [meta2/a]", "x[meta/a]", "meta/a", "[meta/a b]", "[meta/a] x"] {
            assert_eq!(looks(text), None, "{text}");
        }
        let owner = |note| owner_of_note("meta", note).map(|name| name.to_string());
        assert_eq!(owner("managed-by: gitlab-meta-runner/meta/a.b"), Some("a.b".to_owned()));
        assert_eq!(owner("managed-by: gitlab-meta-runner/meta/a b"), None);
        assert_eq!(owner("managed-by: gitlab-meta-runner/meta2/a"), None);
        assert_eq!(owner("see managed-by: gitlab-meta-runner/meta/a"), None);
    }
}
