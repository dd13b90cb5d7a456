//! What the sample pipeline must come to.

use std::fmt;

/// A job that ends, or one that waits for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// On this instance, with this exit code.
    Ends { instance: &'static str, exit_code: i64 },
    /// Pending, and GitLab says that no runner can take it.
    Stuck,
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ends { instance, exit_code } => {
                write!(formatter, "an end on `{instance}` with exit code {exit_code}")
            }
            Self::Stuck => formatter.write_str("that no runner can take it"),
        }
    }
}

/// The jobs of `sample/.gitlab-ci.yml` in their order.
pub(crate) const JOBS: &[(&str, Expected)] = &[
    ("build", Expected::Ends { instance: "small", exit_code: 0 }),
    ("test", Expected::Ends { instance: "large", exit_code: 0 }),
    ("no-bash", Expected::Ends { instance: "small", exit_code: 0 }),
    ("entrypoint", Expected::Ends { instance: "small", exit_code: 0 }),
    ("fails", Expected::Ends { instance: "large", exit_code: 42 }),
    ("report", Expected::Ends { instance: "large", exit_code: 0 }),
    ("nobody", Expected::Stuck),
];

#[cfg(test)]
mod tests {
    use super::JOBS;

    #[test]
    fn every_job_of_the_sample_is_expected() {
        let sample = include_str!("../sample/.gitlab-ci.yml");
        let keys =
            sample.lines().filter_map(|line| line.strip_suffix(':')).filter(|key| !key.starts_with(' '));
        assert_eq!(keys.collect::<Vec<_>>(), JOBS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
