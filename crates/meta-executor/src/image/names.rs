//! What image names meant when they were last asked for, and who may use the answer without asking again.

use serde::{Deserialize, Serialize};

use super::platform::Platform;
use super::reference::Reference;
use super::registry::sha256;

/// What a complete image name meant when it was last asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    /// The complete name, for people who look into the file.
    pub(crate) name: String,
    pub(crate) platform: String,
    /// Of the manifest.
    pub(crate) digest: String,
    /// What a HEAD request for the name answered: the index's digest for an image of several platforms.
    pub(crate) remote_digest: Option<String>,
    /// Whether the registry gave it without a login.
    pub(crate) public: bool,
    /// Projects whose login the registry accepted for it.
    pub(crate) projects: Vec<u64>,
}

impl NameRecord {
    /// Whether a job of `project` may have the image although the registry is not asked.
    pub(crate) fn may_be_used_by(&self, project: u64) -> bool {
        self.public || self.projects.contains(&project)
    }

    /// The record after the registry gave the image to `project`, with a login or to anybody.
    pub(crate) fn allowing(mut self, project: u64, without_login: bool) -> Self {
        if without_login {
            self.public = true;
        } else if !self.projects.contains(&project) {
            self.projects.push(project);
        }
        self
    }

    /// Whether the record is that of `name`, and not of one whose key is the same.
    pub(super) fn is_of(&self, name: &Reference, platform: &Platform) -> bool {
        self.name == name.to_string() && self.platform == platform.to_string()
    }
}

/// Name of the file for the record of `name`.
pub(super) fn file_name(name: &Reference, platform: &Platform) -> String {
    let key = sha256(format!("{name} {platform}").as_bytes());
    format!("{}.json", key.trim_start_matches("sha256:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_image_is_for_the_projects_that_the_registry_let_in() {
        let record = NameRecord::default().allowing(7, false);
        assert!(record.may_be_used_by(7) && !record.may_be_used_by(8));
        let record = record.allowing(8, false).allowing(8, false);
        assert_eq!(record.projects, [7, 8]);
        assert!(!record.public && !record.may_be_used_by(9));
        assert!(record.allowing(9, true).may_be_used_by(10));
    }

    #[test]
    fn names_and_platforms_have_files_of_their_own() {
        let file = |name: &str, platform: &str| {
            let platform = Platform::parse(platform).expect("a platform");
            file_name(&Reference::parse(name).expect("a name"), &platform)
        };
        assert_eq!(file("ubuntu", "amd64"), file("docker.io/library/ubuntu:latest", "linux/amd64"));
        assert_ne!(file("ubuntu:22.04", "amd64"), file("reg.io/evil/ubuntu:22.04", "amd64"));
        assert_ne!(file("ubuntu", "amd64"), file("ubuntu", "arm64"));
    }
}
