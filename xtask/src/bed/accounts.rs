//! The people of the bed.

/// A user; the group has the same name and number.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Account {
    pub(super) name: &'static str,
    pub(super) id: u32,
    pub(super) home: &'static str,
    /// First of 65536 subordinate ids, as rootless containers want them.
    subordinate: Option<u32>,
}

/// The usual user of a cluster that is kind to containers.
pub(super) const CI: Account = Account { name: "ci", id: 1000, home: "/home/ci", subordinate: Some(100_000) };

/// A user of an unkind cluster: without subordinate ids, only the own id can be mapped.
pub(super) const PLAIN: Account = Account { name: "plain", id: 1001, home: "/home/plain", subordinate: None };

pub(super) const ROOT: Account = Account { name: "root", id: 0, home: "/root", subordinate: None };

/// Those that the bed adds to Debian's.
pub(super) const ADDED: &[Account] = &[CI, PLAIN];

impl Account {
    /// The account's lines by file.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let Self { name, id, home, .. } = self;
        let mut lines = vec![
            ("/etc/passwd", format!("{name}:x:{id}:{id}::{home}:/bin/bash")),
            ("/etc/group", format!("{name}:x:{id}:")),
            ("/etc/shadow", format!("{name}:*:20000:0:99999:7:::")),
        ];
        if let Some(first) = self.subordinate {
            lines.extend(["/etc/subuid", "/etc/subgid"].map(|file| (file, format!("{name}:{first}:65536"))));
        }
        lines
    }
}

/// The text of such a file with exactly this line for its user.
pub(super) fn with_line(text: &str, line: &str) -> String {
    let name = line.split(':').next().unwrap_or(line);
    let others = text.lines().filter(|other| other.split(':').next() != Some(name));
    others.chain([line]).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::{CI, PLAIN, with_line};

    #[test]
    fn a_user_has_one_line() {
        let once = with_line("root:x:0\ncity:x:7\n", "ci:x:1000");
        assert_eq!(once, "root:x:0\ncity:x:7\nci:x:1000\n");
        assert_eq!(with_line(&once, "ci:y:1000"), "root:x:0\ncity:x:7\nci:y:1000\n");
    }

    #[test]
    fn only_the_usual_user_has_subordinate_ids() {
        assert!(CI.lines().contains(&("/etc/subuid", "ci:100000:65536".to_owned())));
        assert!(!PLAIN.lines().iter().any(|(file, _)| file.starts_with("/etc/sub")));
    }
}
