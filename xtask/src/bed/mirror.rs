//! The machine's own Debian mirror and apt options, read at run time.

use crate::failure::{Failure, Result};
use crate::process;
use std::process::Command;

/// One field per column of [`TARGET_FORMAT`].
#[derive(Debug, Eq, PartialEq)]
struct Target {
    label: String,
    release: String,
    component: String,
    repository: String,
}

/// apt reads sources.list and sources.list.d in both of its formats for us.
const TARGET_FORMAT: &str = "$(LABEL)\t$(RELEASE)\t$(COMPONENT)\t$(REPO_URI)";

/// apt's options that a machine sets so that downloads work there at all.
const PASSED_ON: &[&str] = &[
    "Acquire::Check-Date",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::https::CAInfo",
    "Acquire::https::Verify-Peer",
    "Acquire::Retries",
];

/// The Debian mirror: `BED_MIRROR`, else the one that apt uses here. `None` where apt has no Debian source (Ubuntu):
/// mmdebstrap then takes its own default.
pub(super) fn find() -> Result<Option<String>> {
    if let Some(mirror) = std::env::var("BED_MIRROR").ok().filter(|mirror| !mirror.is_empty()) {
        return Ok(Some(mirror));
    }
    let targets = process::run(Command::new("apt-get").args(["indextargets", "--format", TARGET_FORMAT]))?;
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mirror = choose(&parse_targets(&targets), &system);
    if mirror.is_none() && os_release(&system, "ID") == Some("debian") {
        return Err(Failure::new("apt's configuration names no Debian mirror")
            .with_hint("add one to /etc/apt/sources.list, or set BED_MIRROR to the address of one"));
    }
    Ok(mirror)
}

/// `--aptopt` arguments for mmdebstrap: old snapshots are fine, and what this machine's apt needs.
pub(super) fn apt_options() -> Result<Vec<String>> {
    let configuration = process::run(Command::new("apt-config").arg("dump"))?;
    let mut options = vec!["--aptopt=Acquire::Check-Valid-Until \"false\"".to_owned()];
    options.extend(passed_on(&configuration).map(|line| format!("--aptopt={line}")));
    Ok(options)
}

fn parse_targets(text: &str) -> Vec<Target> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('\t').map(str::to_owned);
            Some(Target {
                label: fields.next()?,
                release: fields.next()?,
                component: fields.next()?,
                repository: fields.next()?,
            })
        })
        .collect()
}

/// The label comes from the repository's signed Release file, which is absent before the first `apt-get update`: then
/// the release's own codename tells.
fn choose(targets: &[Target], system: &str) -> Option<String> {
    let is_main = |target: &&Target| {
        target.component == "main"
            && ["http://", "https://", "file:"].iter().any(|scheme| target.repository.starts_with(scheme))
    };
    let on_debian = os_release(system, "ID") == Some("debian");
    let codename = os_release(system, "VERSION_CODENAME");
    let by_label = targets.iter().filter(is_main).find(|target| target.label == "Debian");
    let by_codename = || {
        targets.iter().filter(is_main).find(|target| {
            on_debian
                && (Some(target.release.as_str()) == codename
                    || ["stable", "testing", "sid", "unstable"].contains(&target.release.as_str()))
        })
    };
    by_label.or_else(by_codename).map(|target| target.repository.trim_end_matches('/').to_owned())
}

fn passed_on(configuration: &str) -> impl Iterator<Item = &str> {
    configuration.lines().map(|line| line.trim_end_matches(';')).filter(|line| {
        line.split_once(' ').is_some_and(|(key, value)| PASSED_ON.contains(&key) && value != "\"\"")
    })
}

/// A value of os-release(5).
fn os_release<'text>(text: &'text str, key: &str) -> Option<&'text str> {
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::{choose, parse_targets, passed_on};

    const DEBIAN: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";
    const UBUNTU: &str = "ID=ubuntu\nVERSION_CODENAME=noble\n";

    fn check(targets: &str, system: &str, expected: Option<&str>) {
        assert_eq!(choose(&parse_targets(targets), system).as_deref(), expected);
    }

    #[test]
    fn the_main_archive_is_chosen_not_security_or_strangers() {
        check(
            "Other\tnodistro\tmain\thttps://packages.example/x/\n\
             Debian-Security\tbookworm-security\tmain\thttp://mirror.example/debian-security/\n\
             Debian\tbookworm\tmain\thttp://mirror.example/debian/\n",
            DEBIAN,
            Some("http://mirror.example/debian"),
        );
    }

    #[test]
    fn without_downloaded_lists_the_codename_tells() {
        check(
            "\tnodistro\tmain\thttps://packages.example/x/\n\tbookworm\tmain\thttp://mirror.example/debian/\n",
            DEBIAN,
            Some("http://mirror.example/debian"),
        );
    }

    #[test]
    fn ubuntu_mirrors_are_no_debian_mirrors() {
        check("Ubuntu\tnoble\tmain\thttp://mirror.example/ubuntu/\n", UBUNTU, None);
        check("\tnoble\tmain\thttp://mirror.example/ubuntu/\n", UBUNTU, None);
    }

    #[test]
    fn a_cdrom_is_no_mirror() {
        check("Debian\tbookworm\tmain\tcdrom://[Debian]/\n", DEBIAN, None);
    }

    #[test]
    fn only_known_and_set_options_are_passed_on() {
        let dump = "Acquire::Check-Date \"false\";\nAcquire::http::Proxy \"\";\nAcquire::Languages \"\";\nAPT::Architecture \"amd64\";\n";
        assert_eq!(passed_on(dump).collect::<Vec<_>>(), ["Acquire::Check-Date \"false\""]);
    }
}
