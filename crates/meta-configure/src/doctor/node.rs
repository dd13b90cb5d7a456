//! A compute node: what the executor needs, and whether the runners reach GitLab from here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meta_core::command_line::CommandLine;
use meta_core::executor_file::{self, ExecutorFile};
use meta_core::template::Template;
use meta_host::configuration::variables;
use meta_host::file_system::is_local;
use meta_host::files::read_private;
use meta_host::{Environment, Failure as _, process};

use super::machine::{apptainer, program};
use super::{Finding, fail, ok, warn};

/// One request per instance.
const GITLAB_WAIT: Duration = Duration::from_secs(120);

/// The `NAME.executor.toml` of a data directory, sorted.
pub(super) fn executor_files(data_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(".executor.toml"));
    let mut files: Vec<PathBuf> = entries.filter(is_one).collect();
    files.sort();
    files
}

pub(super) fn check(files: &[PathBuf], environment: &Environment) -> Vec<Finding> {
    let mut findings = vec![program("gitlab-runner", environment), program("git", environment)];
    for path in files {
        match load(path) {
            Ok(file) => {
                findings.push(ok(format!("executor's file: {}", path.display())));
                findings.extend(of_file(&file, environment));
                findings.extend(gitlab(path, environment));
            }
            Err(report) => findings.push(fail(format!("executor's file:\n{report}"))),
        }
    }
    findings
}

fn load(path: &Path) -> Result<ExecutorFile, String> {
    let text = read_private(path).map_err(|error| error.report())?;
    executor_file::parse(path, &text).map_err(|problems| problems.report())
}

fn of_file(file: &ExecutorFile, environment: &Environment) -> Vec<Finding> {
    let expanded = |template: &Option<Template>| {
        let (name, instance) = file.instances.first_key_value()?;
        template.as_ref()?.expand(&variables(environment, name, &instance.config_variables)).ok()
    };
    let node_dir = expanded(&file.executor.node_dir)
        .map_or_else(|| format!("/var/tmp/gitlab-meta-runner-{}", environment.uid).into(), PathBuf::from);
    let shown = node_dir.display();
    let node_dir = if is_local(&node_dir) {
        ok(format!("node_dir: {shown}"))
    } else {
        warn(format!(
            "node_dir: {shown} is on no disk of this node; images are slow there, and their files lose their owners"
        ))
    };
    vec![apptainer(expanded(&file.executor.apptainer_executable).as_deref(), environment), node_dir]
}

/// gitlab-runner itself asks GitLab whether it knows the tokens.
fn gitlab(executor_file: &Path, environment: &Environment) -> Option<Finding> {
    let gitlab_runner = environment.find_program("gitlab-runner")?;
    let name = executor_file.file_name()?.to_str()?.strip_suffix(".executor.toml")?;
    let config = executor_file.with_file_name(format!("{name}.gitlab-runner.toml"));
    let command = CommandLine::new(gitlab_runner, ["verify", "--config", config.to_string_lossy().as_ref()]);
    Some(match process::run(&command, GITLAB_WAIT) {
        Ok(output) => judge_verification(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => fail(format!("GitLab:\n{}", error.report())),
    })
}

/// `gitlab-runner verify` says a line for each runner, with colours. Its exit code is 0 where GitLab cannot be reached.
fn judge_verification(said: &str) -> Finding {
    let lines: Vec<String> = said.lines().map(without_colours).collect();
    let is_good = |line: &&String| line.contains("is valid") || line.contains("is alive");
    let (good, bad): (Vec<_>, Vec<_>) =
        lines.iter().filter(|line| line.contains("Verifying runner...")).partition(is_good);
    match (good.is_empty(), bad.is_empty()) {
        (false, true) => ok("GitLab: it is reached from here, and knows the runners' tokens".to_owned()),
        (true, true) => fail(format!("GitLab: no answer of `gitlab-runner verify`:\n{}", lines.join("\n"))),
        _ => fail(format!("GitLab:\n{}", bad.into_iter().map(String::as_str).collect::<Vec<_>>().join("\n"))),
    }
}

fn without_colours(line: &str) -> String {
    let (first, coloured) = line.split_once('\x1b').unwrap_or((line, ""));
    let rest = coloured.split('\x1b').filter_map(|piece| piece.split_once('m'));
    rest.fold(first.to_owned(), |text, (_, piece)| text + piece)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_gitlab_runner_says_counts_and_not_its_exit_code() {
        let valid =
            "Running in system-mode.\nVerifying runner... is valid   \x1b[0;m runner_name\x1b[0;m=big\n";
        let failed =
            "\x1b[31;1mERROR: Verifying runner... failed\x1b[0;m status\x1b[0;m=connection refused\n";
        assert_eq!(judge_verification(valid).verdict, Verdict::Ok);
        let both = judge_verification(&format!("{valid}{failed}"));
        let text = "GitLab:\nERROR: Verifying runner... failed status=connection refused";
        assert_eq!(both, fail(text.to_owned()));
        assert_eq!(judge_verification("Verifying runner... is not valid").verdict, Verdict::Fail);
        assert_eq!(judge_verification("FATAL: no such file").verdict, Verdict::Fail);
    }
}
