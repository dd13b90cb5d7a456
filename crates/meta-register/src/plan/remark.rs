//! What the plan leaves as it is, and people should know.

use std::fmt;

use meta_core::name::InstanceName;

use super::action::{list, projects};
use super::difference::FieldChange;

/// Something about one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) instance: InstanceName,
    pub(crate) id: u64,
    pub(crate) about: About,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// It lacks our mark and differs in these fields.
    UnmarkedDiffers(Vec<FieldChange>),
    /// It lacks our mark, and its token expires at this time.
    UnmarkedExpires(String),
    /// It serves projects, too, that the configuration does not name.
    AlsoServes(Vec<u64>),
    /// It is not wanted any more, and these projects use it.
    KeptForOthers(Vec<u64>),
    /// It is not wanted, but at work, and no record of ours is about it.
    KeptAtWork,
    /// Its token expires at this time, and launches are starting that would read the old one.
    ResetPostponed(String),
}

impl Remark {
    /// Whether somebody should do something about it. The rest is for those who ask.
    pub(crate) fn is_warning(&self) -> bool {
        !matches!(self.about, About::ResetPostponed(_))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, id, about } = self;
        write!(f, "runner {id} of `{instance}` ")?;
        match about {
            About::UnmarkedDiffers(fields) => {
                write!(f, "does not carry our mark and is left as it is, though it differs: {}", list(fields))
            }
            About::UnmarkedExpires(time) => {
                write!(f, "does not carry our mark, so its token is not renewed; it expires at {time}")
            }
            About::AlsoServes(ids) => {
                write!(f, "also serves {}: name what is missing in `projects`, or unassign it", projects(ids))
            }
            About::KeptForOthers(ids) => {
                write!(
                    f,
                    "is not wanted any more, but {} use it: it stays until it is unassigned there",
                    projects(ids)
                )
            }
            About::KeptAtWork => f.write_str(
                "is not wanted here, but was at work within two hours, and no file here knows it: it stays. If another \
                 configuration with the same `name` uses it, give this one another name; else delete it in GitLab",
            ),
            About::ResetPostponed(time) => {
                write!(f, "has a token that expires at {time}; it is renewed when no launch is starting")
            }
        }
    }
}
