//! Who named an image: a hint must send the reader to the file that has the name, and to the person who may change it.

/// Where an image's name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    Job,
    JobService,
    /// `image` in the configuration, for jobs that name none.
    DefaultImage,
    /// `services` in the configuration, which every job has.
    ConfiguredService,
    /// `helper_image` in the configuration.
    HelperImage,
}

impl NamedBy {
    /// That place, as a hint names it.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Job => "`image:` in .gitlab-ci.yml",
            Self::JobService => "`services:` in .gitlab-ci.yml",
            Self::DefaultImage => "`image` in `[executor]`, which is the administrator's",
            Self::ConfiguredService => "`services` in `[executor]`, which is the administrator's",
            Self::HelperImage => "`helper_image` in `[executor]`, which is the administrator's",
        }
    }
}
