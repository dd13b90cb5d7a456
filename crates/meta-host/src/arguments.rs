//! The flags that all programs share, and the files that they lead to (contracts, sections 1 and 3).

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use log::LevelFilter;

use crate::{Environment, Failure, exit};

/// Flags of every program; each one is also an environment variable.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonArgs {
    /// Configuration file [default: gitlab-meta-runner.toml in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "FILE", env = "META_RUNNER_CONFIG_FILE", hide_env_values = true)]
    pub config_file: Option<PathBuf>,

    /// Directory for tokens and state, visible on the compute nodes [default: gitlab-meta-runner in $XDG_DATA_HOME or
    /// ~/.local/share]
    #[arg(long, global = true, value_name = "DIR", env = "META_RUNNER_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,

    /// The configuration that is written for gitlab-runner [default: NAME.gitlab-runner.toml in the data directory]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "META_RUNNER_GENERATED_CONFIG_FILE",
        hide_env_values = true
    )]
    pub generated_config_file: Option<PathBuf>,

    /// Say more (repeatable)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say less (repeatable)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub quiet: u8,

    /// Where -v and -q start from: error, warn, info, debug or trace
    #[arg(
        long = "log",
        global = true,
        value_name = "LEVEL",
        env = "META_RUNNER_LOG",
        hide = true,
        default_value = "warn"
    )]
    pub log: Option<LevelFilter>,
}

impl CommonArgs {
    /// The level that `META_RUNNER_LOG` (else `warn`) and the flags ask for.
    pub fn level(&self) -> LevelFilter {
        let base = self.log.unwrap_or(LevelFilter::Warn) as usize;
        let wanted = (base + usize::from(self.verbose)).saturating_sub(usize::from(self.quiet));
        LevelFilter::iter().nth(wanted).unwrap_or(LevelFilter::Trace)
    }

    /// The files of this run. All paths are absolute, because some of them end up in files that are used elsewhere.
    pub fn paths(&self, environment: &Environment) -> Result<Paths, PathsError> {
        let absolute = |path: &PathBuf| environment.current_dir.join(path);
        Ok(Paths {
            config_file: match &self.config_file {
                Some(path) => absolute(path),
                None => base_dir(environment, "XDG_CONFIG_HOME", ".config", "--config-file")?
                    .join("gitlab-meta-runner.toml"),
            },
            data_dir: match &self.data_dir {
                Some(path) => absolute(path),
                None => base_dir(environment, "XDG_DATA_HOME", ".local/share", "--data-dir")?
                    .join("gitlab-meta-runner"),
            },
            generated_config_file: self.generated_config_file.as_ref().map(absolute),
        })
    }
}

/// Where the files of contracts section 1 are. `name` is always the meta-runner's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub config_file: PathBuf,
    pub data_dir: PathBuf,
    generated_config_file: Option<PathBuf>,
}

impl Paths {
    /// Ids and tokens of the runners.
    pub fn registrations(&self, name: &str) -> PathBuf {
        self.data_file(name, "registrations.toml")
    }

    /// The configuration that gitlab-runner reads.
    pub fn generated_config(&self, name: &str) -> PathBuf {
        self.generated_config_file.clone().unwrap_or_else(|| self.data_file(name, "gitlab-runner.toml"))
    }

    /// What the executor reads on the compute node.
    pub fn executor_file(&self, name: &str) -> PathBuf {
        self.data_file(name, "executor.toml")
    }

    /// The launcher's ledger.
    pub fn launches(&self, name: &str) -> PathBuf {
        self.data_file(name, "launches.json")
    }

    /// The lock that register and launcher share.
    pub fn lease(&self, name: &str) -> PathBuf {
        self.data_file(name, "lease")
    }

    /// Ids and tokens as the reference system keeps them.
    pub fn reference_tokens(&self, name: &str) -> PathBuf {
        self.data_file(name, "tokens")
    }

    // Not `with_extension`: a name may have dots.
    fn data_file(&self, name: &str, suffix: &str) -> PathBuf {
        self.data_dir.join(format!("{name}.{suffix}"))
    }
}

/// No flag, no XDG variable and no home directory to find a default place with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot find a default for `{flag}`: neither `{variable}` nor `HOME` is set")]
pub struct PathsError {
    flag: &'static str,
    variable: &'static str,
}

impl Failure for PathsError {
    fn exit_code(&self) -> u8 {
        exit::USAGE
    }

    fn hint(&self) -> Option<String> {
        Some(format!("set `{}`", self.flag))
    }
}

/// An XDG base directory. Relative values are ignored, as the XDG base directory specification asks.
fn base_dir(
    environment: &Environment,
    variable: &'static str,
    below_home: &str,
    flag: &'static str,
) -> Result<PathBuf, PathsError> {
    environment
        .variables
        .get(variable)
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| environment.home.as_deref().map(|home: &Path| home.join(below_home)))
        .ok_or(PathsError { flag, variable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)], home: Option<&str>) -> Environment {
        Environment {
            variables: variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            home: home.map(PathBuf::from),
            executable: PathBuf::from("/opt/bin/meta-register"),
            current_dir: PathBuf::from("/somewhere"),
            hostname: "login1".to_owned(),
            uid: 1000,
        }
    }

    #[test]
    fn defaults_follow_xdg_then_home() {
        let args = CommonArgs::default();
        let paths = args.paths(&environment(&[("XDG_DATA_HOME", "/data")], Some("/home/ci"))).unwrap();
        assert_eq!(paths.config_file, Path::new("/home/ci/.config/gitlab-meta-runner.toml"));
        assert_eq!(paths.registrations("a.b"), Path::new("/data/gitlab-meta-runner/a.b.registrations.toml"));
        let paths = args.paths(&environment(&[("XDG_DATA_HOME", "relative")], Some("/home/ci"))).unwrap();
        assert_eq!(paths.data_dir, Path::new("/home/ci/.local/share/gitlab-meta-runner"));
    }

    #[test]
    fn flags_win_and_become_absolute() {
        let args = CommonArgs {
            config_file: Some("a.toml".into()),
            data_dir: Some("/d".into()),
            generated_config_file: Some("out/g.toml".into()),
            ..CommonArgs::default()
        };
        let paths = args.paths(&environment(&[], None)).unwrap();
        assert_eq!(paths.config_file, Path::new("/somewhere/a.toml"));
        assert_eq!(paths.generated_config("x"), Path::new("/somewhere/out/g.toml"));
        assert_eq!(paths.lease("x"), Path::new("/d/x.lease"));
    }

    #[test]
    fn without_home_the_flag_is_named() {
        let error = CommonArgs::default().paths(&environment(&[], None)).unwrap_err();
        assert_eq!(
            error.report(),
            "error: cannot find a default for `--config-file`: neither `XDG_CONFIG_HOME` nor `HOME` is set\n\
             hint: set `--config-file`"
        );
    }

    #[test]
    fn verbosity_starts_from_the_variable() {
        let level = |log, verbose, quiet| CommonArgs { log, verbose, quiet, ..CommonArgs::default() }.level();
        assert_eq!(level(None, 0, 0), LevelFilter::Warn);
        assert_eq!(level(None, 9, 0), LevelFilter::Trace);
        assert_eq!(level(None, 0, 9), LevelFilter::Off);
        assert_eq!(level(Some(LevelFilter::Info), 1, 0), LevelFilter::Debug);
    }
}
