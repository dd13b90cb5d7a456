//! What every machine of ours has: programs, data directory, user namespaces, subordinate ids.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use meta_core::command_line::CommandLine;
use meta_host::{Environment, Failure as _, process};

use super::{Finding, fail, ok, warn};

/// All of them lie in one directory, and find each other there.
const OURS: [&str; 5] =
    ["gitlab-meta-runner", "meta-register", "meta-configure", "meta-launcher", "meta-executor"];

/// The first Apptainer that the executor works with.
const LEAST_APPTAINER: (u32, u32) = (1, 3);

/// A cold start from a network file system takes seconds.
const VERSION_WAIT: Duration = Duration::from_secs(30);

pub(super) fn programs_of_ours(environment: &Environment) -> Finding {
    let missing: Vec<&str> =
        OURS.into_iter().filter(|program| !environment.beside(program).exists()).collect();
    let directory = environment.executable.parent().unwrap_or(Path::new("/")).display();
    match missing.is_empty() {
        true => ok(format!("our programs: {directory}")),
        false => fail(format!("our programs: {} not in {directory}", missing.join(", "))),
    }
}

pub(super) fn data_dir(path: &Path) -> Finding {
    let shown = path.display();
    let Ok(meta) = path.metadata() else {
        return warn(format!(
            "data directory: {shown} is not there yet; `gitlab-meta-runner configure` makes it, and the compute \
             nodes must see it"
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

/// A program in PATH, or at a path.
pub(super) fn program(name: &str, environment: &Environment) -> Finding {
    match environment.find_program(name) {
        Some(path) => ok(format!("{name}: {}", path.display())),
        None => fail(format!("{name}: not found; load its module, or add its directory to PATH")),
    }
}

/// Apptainer, by the name that the configuration gives it.
pub(super) fn apptainer(name: Option<&str>, environment: &Environment) -> Finding {
    let name = name.unwrap_or("apptainer");
    let Some(path) = environment.find_program(name) else { return program(name, environment) };
    let command = CommandLine::new(&path, ["--version"]);
    let output = process::run(&command, VERSION_WAIT).and_then(|output| output.require_success(&command));
    match output {
        Ok(output) => judge_version(&path, String::from_utf8_lossy(&output.stdout).trim()),
        Err(error) => fail(format!("{name}:\n{}", error.report())),
    }
}

/// `apptainer version 1.4.2-1.el9`.
fn judge_version(path: &Path, answer: &str) -> Finding {
    let shown = path.display();
    let version = answer.strip_prefix("apptainer version ").and_then(|version| {
        let mut numbers = version.split(['.', '-', '~', '+']).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    match version {
        Some(version) if version >= LEAST_APPTAINER => ok(format!("{shown}: {answer}")),
        Some(_) => fail(format!("{shown}: {answer}; jobs need 1.3 or later")),
        None => warn(format!("{shown}: `{answer}`; jobs need Apptainer 1.3 or later")),
    }
}

/// The kernel's switches for user namespaces: `user_namespaces(7)`, and the ones of Debian and Ubuntu.
pub(super) fn user_namespaces(read: impl Fn(&str) -> Option<String>) -> Finding {
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

/// `/etc/subuid` and `/etc/subgid` name users by name or by id (`subuid(5)`); newuidmap and newgidmap put them to use.
pub(super) fn subordinate_ids(environment: &Environment, read: impl Fn(&str) -> Option<String>) -> Finding {
    let uid = environment.uid.to_string();
    let user = environment.variables.get("USER").or_else(|| environment.variables.get("LOGNAME"));
    let is_ours = |line: &str| {
        line.split_once(':').is_some_and(|(owner, _)| owner == uid || user.is_some_and(|user| user == owner))
    };
    let files = ["/etc/subuid", "/etc/subgid"];
    let without: Vec<&str> = files
        .into_iter()
        .filter(|file| !read(file).as_deref().unwrap_or_default().lines().any(is_ours))
        .collect();
    let tools = ["newuidmap", "newgidmap"];
    let missing: Vec<&str> =
        tools.into_iter().filter(|tool| environment.find_program(tool).is_none()).collect();
    if !without.is_empty() {
        let files = without.join(" and ");
        return warn(format!("subordinate ids: no range in {files}; jobs run at level B, with one user id"));
    }
    if !missing.is_empty() {
        let tools = missing.join(" and ");
        return warn(format!("subordinate ids: {tools} not found; jobs run at level B, with one user id"));
    }
    ok("subordinate ids".to_owned())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make programs to be found")]
mod tests {
    use std::fs;

    use super::super::Verdict;
    use super::*;

    fn environment(user: &str, path: &Path) -> Environment {
        let variables = [("USER", user), ("PATH", path.to_str().unwrap())];
        Environment {
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            home: None,
            executable: path.join("meta-configure"),
            current_dir: "/".into(),
            hostname: "login1".to_owned(),
            uid: 1000,
        }
    }

    fn make_program(directory: &Path, name: &str) {
        let path = directory.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
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
    fn ranges_belong_to_a_name_or_an_id_and_need_their_tools() {
        let directory = tempfile::tempdir().unwrap();
        let find = |subuid: &'static str, subgid: &'static str| {
            let read = move |file: &str| Some(if file == "/etc/subuid" { subuid } else { subgid }.to_owned());
            subordinate_ids(&environment("ci", directory.path()), read)
        };
        assert!(find("ci:1:2\n", "ci:1:2\n").text.contains("newuidmap and newgidmap not found"));
        make_program(directory.path(), "newuidmap");
        make_program(directory.path(), "newgidmap");
        assert_eq!(find("root:1:2\nci:100000:65536\n", "1000:1:2\n").verdict, Verdict::Ok);
        assert!(find("1000:1:2\n", "cicero:1:2\n").text.contains("no range in /etc/subgid;"));
        assert_eq!(find("cicero:100000:65536\n10001:1:1\n", "").verdict, Verdict::Warn);
    }

    #[test]
    fn a_data_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(data_dir(dir.path()).verdict, Verdict::Fail);
        assert_eq!(data_dir(&dir.path().join("none")).verdict, Verdict::Warn);
    }

    #[test]
    fn our_programs_lie_together() {
        let directory = tempfile::tempdir().unwrap();
        let found = || programs_of_ours(&environment("ci", directory.path()));
        OURS[1..].iter().for_each(|program| make_program(directory.path(), program));
        assert!(found().text.starts_with("our programs: gitlab-meta-runner not in "));
        make_program(directory.path(), OURS[0]);
        assert_eq!(found().verdict, Verdict::Ok);
    }

    #[test]
    fn an_old_apptainer_is_refused() {
        let verdict = |answer| judge_version(Path::new("/bin/apptainer"), answer).verdict;
        assert_eq!(verdict("apptainer version 1.3.0"), Verdict::Ok);
        assert_eq!(verdict("apptainer version 1.4~rc.1"), Verdict::Ok);
        assert_eq!(verdict("apptainer version 1.10.2-1.el9"), Verdict::Ok);
        assert_eq!(verdict("apptainer version 1.2.5"), Verdict::Fail);
        assert_eq!(verdict("singularity-ce version 4.1.0"), Verdict::Warn);
    }
}
