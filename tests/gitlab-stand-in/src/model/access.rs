//! Users, their tokens, and where they are members.

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::model::State;
use crate::pipeline::Variable;

/// A role; the numbers are GitLab's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Guest = 10,
    Reporter = 20,
    Developer = 30,
    Maintainer = 40,
    Owner = 50,
}

/// What a personal, project or group access token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    Api,
    ReadApi,
    ReadUser,
    CreateRunner,
    ManageRunner,
    ReadRepository,
    WriteRepository,
}

impl Scope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::ReadApi => "read_api",
            Self::ReadUser => "read_user",
            Self::CreateRunner => "create_runner",
            Self::ManageRunner => "manage_runner",
            Self::ReadRepository => "read_repository",
            Self::WriteRepository => "write_repository",
        }
    }
}

/// A person, or the bot behind a project or group token.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) name: String,
    pub(crate) admin: bool,
    pub(crate) bot: bool,
    pub(crate) created_at: Time,
}

/// A `glpat-` token.
#[derive(Debug, Clone)]
pub(crate) struct PersonalToken {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) secret: String,
    pub(crate) user_id: i64,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) created_at: Time,
    pub(crate) expires_at: Option<Time>,
    pub(crate) last_used_at: Option<Time>,
    pub(crate) revoked: bool,
}

/// What a role is held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    Group(i64),
    Project(i64),
}

/// One role of one user.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) user_id: i64,
    pub(crate) namespace: Namespace,
    pub(crate) level: Level,
}

/// A group or subgroup.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) full_path: String,
    pub(crate) parent_id: Option<i64>,
}

/// A project with the switches that decide who runs its jobs.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) id: i64,
    pub(crate) group_id: i64,
    pub(crate) path: String,
    pub(crate) full_path: String,
    pub(crate) default_branch: String,
    /// Branch names or patterns with `*` whose jobs `ref_protected` runners may take.
    pub(crate) protected_refs: Vec<String>,
    pub(crate) public: bool,
    pub(crate) instance_runners_enabled: bool,
    pub(crate) group_runners_enabled: bool,
    pub(crate) builds_enabled: bool,
    pub(crate) artifacts_enabled: bool,
    /// Seconds; a job's `timeout` overrides it.
    pub(crate) build_timeout: i64,
    /// Project variables, in order.
    pub(crate) variables: Vec<Variable>,
    pub(crate) created_at: Time,
}

impl Project {
    /// Whether jobs on this ref are protected.
    pub(crate) fn protects(&self, name: &str) -> bool {
        self.protected_refs.iter().any(|pattern| match pattern.split_once('*') {
            None => pattern == name,
            Some((head, tail)) => {
                name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
            }
        })
    }
}

impl State {
    /// The highest role of the user in a project, inherited ones included.
    pub(crate) fn level_in_project(&self, user: &User, project: &Project) -> Option<Level> {
        if user.admin {
            return Some(Level::Owner);
        }
        let direct = self.direct_level(user.id, Namespace::Project(project.id));
        direct.max(self.level_in_group(user, project.group_id))
    }

    /// The highest role of the user in a group, inherited ones included.
    pub(crate) fn level_in_group(&self, user: &User, group_id: i64) -> Option<Level> {
        if user.admin {
            return Some(Level::Owner);
        }
        let groups = self.group_with_ancestors(group_id);
        groups.iter().filter_map(|group| self.direct_level(user.id, Namespace::Group(group.id))).max()
    }

    fn direct_level(&self, user_id: i64, namespace: Namespace) -> Option<Level> {
        let mine = self.members.iter().filter(|m| m.user_id == user_id && m.namespace == namespace);
        mine.map(|member| member.level).max()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{project_of, server};

    #[test]
    fn protected_refs_are_names_or_patterns() {
        let mut state = server();
        let id = project_of(&mut state, "hpc/solver");
        let project = state.projects.get_mut(&id).unwrap();
        project.protected_refs = vec!["main".into(), "release/*".into()];
        assert!(project.protects("main") && project.protects("release/1"));
        assert!(!project.protects("mainline") && !project.protects("release"));
    }
}
