//! `doctor`: what must be there before the first job, one line each.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use meta_core::config::Config;
use meta_core::template::Template;
use meta_host::arguments::Paths;
use meta_host::configuration::{self, variables};
use meta_host::{Environment, Failure, app, exit};

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
pub(crate) fn run(paths: &Paths, environment: &Environment) -> u8 {
    let mut findings = Vec::new();
    let config = match configuration::load(&paths.config_file) {
        Ok(config) => {
            findings.push(ok(format!("configuration: {}", paths.config_file.display())));
            Some(config)
        }
        Err(error) => {
            findings.push(fail(format!("configuration:\n{}", error.report())));
            None
        }
    };
    findings.push(data_dir(&paths.data_dir));
    findings.extend(programs(config.as_ref(), environment));
    findings.push(user_namespaces(|file| fs::read_to_string(file).ok()));
    findings.push(subordinate_ids(environment, &fs::read_to_string("/etc/subuid").unwrap_or_default()));
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

fn data_dir(path: &Path) -> Finding {
    let shown = path.display();
    let Ok(meta) = path.metadata() else {
        return warn(format!(
            "data directory: {shown} is not there yet; `gitlab-meta-runner configure` makes it"
        ));
    };
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return fail(format!(
            "data directory: others may enter it (mode {mode:03o}); run `chmod 700 {shown}`"
        ));
    }
    // The node's own memory and scratch directories are not what the other nodes see.
    if ["/tmp", "/var/tmp", "/dev/shm", "/run"].iter().any(|own| path.starts_with(own)) {
        return warn(format!(
            "data directory: {shown} is rarely visible on the compute nodes; choose `--data-dir`"
        ));
    }
    ok(format!("data directory: {shown}"))
}

/// The launch command must be here; the rest may be on the compute nodes only.
fn programs(config: Option<&Config>, environment: &Environment) -> Vec<Finding> {
    let expanded = |template: &Template| {
        let (name, instance) = config?.instances.first_key_value()?;
        template.expand(&variables(environment, name, &instance.config_variables)).ok()
    };
    let launch = config.and_then(|config| config.launch.as_ref()).map(|launch| &launch.executable);
    let apptainer = config
        .and_then(|config| config.executor.as_ref())
        .and_then(|executor| executor.apptainer_executable.as_ref())
        .and_then(expanded);
    let find = |program: &str| match environment.find_program(program) {
        Some(path) => Ok(ok(format!("{program}: {}", path.display()))),
        None => Err(format!("{program}: not found; load its module, or add its directory to PATH")),
    };
    let launch = launch.map(|template| match expanded(template) {
        Some(program) => find(&program).unwrap_or_else(fail),
        None => warn("launch command: its name depends on a variable that is not set here".to_owned()),
    });
    let apptainer = apptainer.unwrap_or_else(|| "apptainer".to_owned());
    let on_nodes = [apptainer.as_str(), "gitlab-runner", "git"].map(|program| {
        find(program).unwrap_or_else(|text| warn(format!("{text} (the compute nodes need it, not this one)")))
    });
    launch.into_iter().chain(on_nodes).collect()
}

/// The kernel's switches for user namespaces: `user_namespaces(7)`, and the ones of Debian and Ubuntu.
fn user_namespaces(read: impl Fn(&str) -> Option<String>) -> Finding {
    let is = |file: &str, value: &str| read(file).is_some_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") || is("/proc/sys/kernel/unprivileged_userns_clone", "0")
    {
        return fail(
            "user namespaces: switched off; the admin sets `user.max_user_namespaces` with sysctl".to_owned(),
        );
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return warn(
            "user namespaces: only for programs with an AppArmor profile; jobs run at level C".to_owned(),
        );
    }
    ok("user namespaces".to_owned())
}

/// `/etc/subuid` names users by name or by id (`subuid(5)`).
fn subordinate_ids(environment: &Environment, subuid: &str) -> Finding {
    let uid = environment.uid.to_string();
    let user = environment.variables.get("USER").or_else(|| environment.variables.get("LOGNAME"));
    let range = subuid.lines().find(|line| {
        line.split_once(':').is_some_and(|(owner, _)| owner == uid || user.is_some_and(|user| user == owner))
    });
    match range {
        Some(range) => ok(format!("subordinate ids: {range}")),
        None => {
            warn("subordinate ids: no range in /etc/subuid; jobs run at level B, with one user id".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(user: &str) -> Environment {
        Environment {
            variables: [("USER".to_owned(), user.to_owned())].into(),
            home: None,
            executable: "/opt/meta-configure".into(),
            current_dir: "/".into(),
            hostname: "login1".to_owned(),
            uid: 1000,
        }
    }

    #[test]
    fn the_kernels_switches() {
        let with = |file: &'static str, value: &'static str| {
            user_namespaces(move |asked| (asked == file).then(|| value.to_owned())).verdict
        };
        assert_eq!(with("/proc/sys/user/max_user_namespaces", "0\n"), Verdict::Fail);
        assert_eq!(with("/proc/sys/user/max_user_namespaces", "1000\n"), Verdict::Ok);
        assert_eq!(with("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"), Verdict::Warn);
    }

    #[test]
    fn a_range_belongs_to_a_name_or_an_id() {
        let verdict = |subuid| subordinate_ids(&environment("ci"), subuid).verdict;
        assert_eq!(verdict("root:1:2\nci:100000:65536\n"), Verdict::Ok);
        assert_eq!(verdict("1000:100000:65536\n"), Verdict::Ok);
        assert_eq!(verdict("cicero:100000:65536\n10001:1:1\n"), Verdict::Warn);
    }

    #[test]
    fn a_data_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(data_dir(dir.path()).verdict, Verdict::Fail);
        assert_eq!(data_dir(&dir.path().join("none")).verdict, Verdict::Warn);
    }
}
