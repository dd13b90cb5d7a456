//! Where ours may differ from podman, line by line, and why. What is not here must be the same.

use std::collections::BTreeSet;
use std::fmt;

/// The lines of an answer that only one of the two has.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) podman: BTreeSet<String>,
    pub(super) ours: BTreeSet<String>,
}

/// Lines that only one of the two may have. `*` at the begin or the end of a line stands for any text.
#[derive(Debug)]
struct Difference {
    question: &'static str,
    /// Empty: in every image.
    image: &'static str,
    /// Empty: at every level.
    level: &'static str,
    podman: &'static [&'static str],
    ours: &'static [&'static str],
}

const fn everywhere(
    question: &'static str,
    podman: &'static [&'static str],
    ours: &'static [&'static str],
) -> Difference {
    Difference { question, image: "", level: "", podman, ours }
}

const fn at(level: &'static str, difference: Difference) -> Difference {
    Difference { level, ..difference }
}

const fn of(image: &'static str, difference: Difference) -> Difference {
    Difference { image, ..difference }
}

const DIFFERENCES: &[Difference] = &[
    // podman's own mark; docker has none.
    everywhere("environment", &["container=podman"], &[]),
    // podman shows the image's root as read-only to others; docker gives it 755, as ours.
    everywhere("root directory", &["mode 555"], &["mode 755"]),
    // podman makes this directory for its own file.
    everywhere("root directory", &["run"], &[]),
    // podman counts in kB, docker and ours in KiB: 64 MiB.
    everywhere("shared memory", &["64000"], &["65536"]),
    // Leads to the kernel's memory, which nobody may read.
    everywhere("devices", &["core"], &[]),
    // Masks of files that an ordinary user of the node can read anyway: they protect a root that ours is not.
    everywhere(
        "mount points",
        &["/proc/*", "/sys/firmware", "/run/.containerenv"],
        &["/sys/kernel/security"],
    ),
    everywhere("read-only mounts", &["/proc/*"], &["/sys/kernel/security"]),
    // What Apptainer leaves in these sets means nothing to uid 0, and is lost with another uid.
    at("B", everywhere("capabilities", &["CapInh:*", "CapAmb:*"], &["CapInh:*", "CapAmb:*"])),
    // Where there is one user, nobody can become another.
    at("B", of("user", everywhere("capabilities", &["CapBnd:*"], &["CapBnd:*"]))),
    at("B", of("user", everywhere("privileges", &["NoNewPrivs:\t0"], &["NoNewPrivs:\t1"]))),
    // There is no filter of system calls: the user namespace and the node's own rules are what protects the node.
    everywhere("system calls", &["Seccomp:\t2"], &["Seccomp:\t0"]),
    // At level B there is one id, which has every file and every name that a file may have.
    at("B", everywhere("owners and modes", &["* 0 42", "* 0 44", "* 1234 1234"], &["* 0 0"])),
    at("B", everywhere("changing owners", &["*"], &["*"])),
    at("B", of("user", everywhere("user", &["1234 44"], &[]))),
    at("B", of("user", everywhere("/tmp", &["* 0 0"], &["* 1234 1234"]))),
    at("B", of("user", everywhere("owners and modes", &["* 0 0"], &["* 1234 1234"]))),
    at("B", of("user", everywhere("root directory", &["owner 0 0"], &["owner 1234 1234", "writable"]))),
    at("B", of("user", everywhere("what can be read", &["*: Permission denied"], &["root"]))),
    at("B", of("user", everywhere("volumes", &["777 0 0"], &["777 1234 1234"]))),
];

/// Whether every line of `sides` is one that may differ.
pub(super) fn may_differ(question: &str, image: &str, level: &str, sides: &Sides) -> bool {
    let which = DIFFERENCES.iter().filter(|one| {
        one.question == question
            && (one.image.is_empty() || one.image == image)
            && (one.level.is_empty() || one.level == level)
    });
    let which: Vec<&Difference> = which.collect();
    let podman = sides.podman.iter().all(|line| which.iter().any(|one| names(one.podman, line)));
    let ours = sides.ours.iter().all(|line| which.iter().any(|one| names(one.ours, line)));
    podman && ours
}

fn names(patterns: &[&str], line: &str) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => line.ends_with(end),
        (None, Some(start)) => line.starts_with(start),
        (None, None) => line == *pattern,
    })
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.podman.iter().try_for_each(|line| writeln!(f, "  only podman: {line}"))?;
        self.ours.iter().try_for_each(|line| writeln!(f, "  only ours: {line}"))
    }
}
