//! What the kernel must allow.

use crate::failure::{Failure, Result};
use crate::process;
use std::fs;
use std::process::Command;

/// # Errors
/// Root may not make namespaces here, as in an ordinary container; or nobody may make user namespaces, in which jobs run.
pub(super) fn ensure() -> Result<()> {
    let namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork"];
    let answer = process::try_run(Command::new("unshare").args(namespaces).arg("true"))?;
    if !answer.status.success() {
        return Err(Failure::new("this machine lets root make no namespaces, and the bed consists of them")
            .with_output(process::tail(&String::from_utf8_lossy(&answer.stderr)))
            .with_hint("a container needs `--privileged`; else use a virtual machine"));
    }
    match closed_switch(|file| fs::read_to_string(file).ok()) {
        None => Ok(()),
        Some(file) => Err(Failure::new("this kernel allows no user namespaces, and jobs run in them")
            .with_hint(format!("`{file}` must have another value; the command is `sysctl -w`"))),
    }
}

/// The file whose value forbids user namespaces to ordinary users: `user_namespaces(7)`, and Debian's own one.
fn closed_switch(read: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    ["/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/unprivileged_userns_clone"]
        .into_iter()
        .find(|file| read(file).is_some_and(|value| value.trim() == "0"))
}

#[cfg(test)]
mod tests {
    use super::closed_switch;

    #[test]
    fn a_switch_that_is_absent_or_open_is_none() {
        let with = |value: Option<&str>| closed_switch(|_| value.map(str::to_owned));
        assert_eq!(with(None), None);
        assert_eq!(with(Some("62000\n")), None);
        assert_eq!(with(Some("0\n")), Some("/proc/sys/user/max_user_namespaces"));
    }
}
