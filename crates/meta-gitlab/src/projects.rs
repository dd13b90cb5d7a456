//! Projects and groups: where runners belong and whose jobs are asked for.

use serde::Deserialize;

use crate::ApiError;
use crate::client::{Client, segment};

/// A project, as far as we care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub id: u64,
    /// With its groups: `group/project`.
    pub path: String,
    /// Whether it has CI/CD at all. GitLab answers 403 to whoever asks for the jobs of one that has not.
    pub has_ci: bool,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: u64,
}

/// The refs of a project that are protected: names, and patterns with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedRefs {
    pub branches: Vec<String>,
    pub tags: Vec<String>,
}

#[derive(Deserialize)]
struct WireRef {
    name: String,
}

#[derive(Deserialize)]
struct WireProject {
    id: u64,
    path_with_namespace: String,
    /// Not there for whoever may not see the project's settings.
    builds_access_level: Option<String>,
}

#[derive(Deserialize)]
struct WireGroup {
    id: u64,
}

impl Client {
    /// `GET /projects/:id` by path.
    pub fn project(&self, path: &str) -> Result<Project, ApiError> {
        let wire: WireProject = self.get(&format!("/projects/{}", segment(path)), "read_api")?;
        Ok(wire.into())
    }

    /// `GET /groups/:id` by path.
    pub fn group(&self, path: &str) -> Result<Group, ApiError> {
        let wire: WireGroup =
            self.get(&format!("/groups/{}?with_projects=false", segment(path)), "read_api")?;
        Ok(Group { id: wire.id })
    }

    /// `GET /groups/:id/projects`: the projects of a group and of its subgroups that are not archived, since a group's
    /// runner serves all of them.
    pub fn group_projects(&self, group_id: u64) -> Result<Vec<Project>, ApiError> {
        let path = format!(
            "/groups/{group_id}/projects?include_subgroups=true&with_shared=false&archived=false&order_by=id&sort=asc"
        );
        let projects = self.get_list::<WireProject>(&path, "read_api")?;
        Ok(projects.into_iter().map(Project::from).collect())
    }

    /// `GET /projects/:id/protected_branches` and `protected_tags`: names, and patterns with `*`. GitLab shows them to
    /// maintainers.
    pub fn protected_refs(&self, project_id: u64) -> Result<ProtectedRefs, ApiError> {
        let names = |kind: &str| -> Result<Vec<String>, ApiError> {
            let list = self.get_list::<WireRef>(&format!("/projects/{project_id}/{kind}"), "read_api")?;
            Ok(list.into_iter().map(|wire| wire.name).collect())
        };
        Ok(ProtectedRefs { branches: names("protected_branches")?, tags: names("protected_tags")? })
    }
}

impl From<WireProject> for Project {
    fn from(wire: WireProject) -> Self {
        let has_ci = wire.builds_access_level.as_deref() != Some("disabled");
        Self { id: wire.id, path: wire.path_with_namespace, has_ci }
    }
}
