//! `doctor`: what must be there before the first job, one line each.

mod login;
mod machine;
mod node;

use std::fmt;

use meta_host::arguments::Paths;
use meta_host::configuration::{self, ConfigurationError};
use meta_host::{Environment, app, exit};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One line of the answer.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        write!(f, "{word}  {}", self.text)
    }
}

/// Prints the findings to stdout; the exit code is [`exit::CONFIGURATION`] if one of them failed.
///
/// Compute nodes need no configuration, and better have none: a machine that has the executor's file alone is one.
pub(crate) fn run(paths: &Paths, environment: &Environment) -> u8 {
    let executor_files = node::executor_files(&paths.data_dir);
    let mut findings = vec![machine::programs_of_ours(environment), machine::data_dir(&paths.data_dir)];
    match configuration::load(&paths.config_file) {
        Err(ConfigurationError::File(error)) if error.is_missing() && !executor_files.is_empty() => {
            findings.push(ok(format!("no configuration ({}): a compute node", paths.config_file.display())));
            findings.extend(node::check(&executor_files, environment));
        }
        config => findings.extend(login::check(config, paths, environment)),
    }
    findings.push(machine::user_namespaces(|file| std::fs::read_to_string(file).ok()));
    findings.push(machine::subordinate_ids(environment, |file| std::fs::read_to_string(file).ok()));
    app::print(&findings.iter().map(|finding| format!("{finding}\n")).collect::<String>());
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    if failed { exit::CONFIGURATION } else { exit::DONE }
}

fn ok(text: String) -> Finding {
    Finding { verdict: Verdict::Ok, text }
}

fn warn(text: String) -> Finding {
    Finding { verdict: Verdict::Warn, text }
}

fn fail(text: String) -> Finding {
    Finding { verdict: Verdict::Fail, text }
}
