//! What image names meant when they were last asked for, and who may use the answer without asking again.

use std::path::PathBuf;

use meta_host::files::{FileError, make_private_dir, read_private, write_private};
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
    /// Projects whose login the registry accepted for it, as `Job::project` names them.
    pub(crate) projects: Vec<String>,
}

impl NameRecord {
    /// Whether a job of `project` may have the image although the registry is not asked.
    pub(crate) fn may_be_used_by(&self, project: &str) -> bool {
        self.public || self.projects.iter().any(|known| known == project)
    }

    /// The record after the registry gave the image to `project`, with a login or to anybody.
    pub(crate) fn allowing(mut self, project: &str, without_login: bool) -> Self {
        if without_login {
            self.public = true;
        } else if !self.may_be_used_by(project) {
            self.projects.push(project.to_owned());
        }
        self
    }
}

/// A directory of [`NameRecord`]s. Nodes that share layers share what names mean, too.
#[derive(Debug)]
pub(crate) struct Names {
    pub(super) directory: PathBuf,
}

impl Names {
    /// What `name` meant for `platform` when it was last asked for.
    pub(crate) fn record(&self, name: &Reference, platform: &Platform) -> Option<NameRecord> {
        let text = read_private(&self.directory.join(file_name(name, platform))).ok()?;
        let is_its =
            |record: &NameRecord| record.name == name.to_string() && record.platform == platform.to_string();
        serde_json::from_str(&text).ok().filter(is_its)
    }

    /// Remembers what a name means.
    pub(crate) fn remember(
        &self,
        name: &Reference,
        platform: &Platform,
        record: &NameRecord,
    ) -> Result<(), FileError> {
        make_private_dir(&self.directory)?;
        let text = serde_json::to_string_pretty(record).expect("a record has only strings and numbers");
        write_private(&self.directory.join(file_name(name, platform)), text.as_bytes())
    }
}

/// Name of the file for the record of `name`.
fn file_name(name: &Reference, platform: &Platform) -> String {
    let key = sha256(format!("{name} {platform}").as_bytes());
    format!("{}.json", key.trim_start_matches("sha256:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_image_is_for_the_projects_that_the_registry_let_in() {
        let [first, second, other] = ["gitlab.com-7", "gitlab.com-8", "gitlab.example.com-7"];
        let record = NameRecord::default().allowing(first, false);
        assert!(record.may_be_used_by(first) && !record.may_be_used_by(second));
        let record = record.allowing(second, false).allowing(second, false);
        assert_eq!(record.projects, [first, second]);
        assert!(!record.public && !record.may_be_used_by(other));
        assert!(record.allowing(second, true).may_be_used_by(other));
    }

    #[test]
    fn a_record_of_another_name_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let names = Names { directory: directory.path().join("names") };
        let name = Reference::parse("reg.io/a:1").expect("a name");
        let platform = Platform::native();
        assert_eq!(names.record(&name, &platform), None);
        let mut record =
            NameRecord { name: name.to_string(), platform: platform.to_string(), ..NameRecord::default() };
        names.remember(&name, &platform, &record).unwrap();
        assert_eq!(names.record(&name, &platform), Some(record.clone()));
        record.name = "reg.io/b:1".to_owned();
        names.remember(&name, &platform, &record).unwrap();
        assert_eq!(names.record(&name, &platform), None);
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
