//! `/etc/hosts` and `/etc/resolv.conf` of a job and of its services.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::pasta::NAME_SERVER;

/// An address and its names.
pub(crate) type Entry = (Ipv4Addr, Vec<String>);

/// The file for a container called `hostname` with the address `own`, which knows the entries `others`.
pub(crate) fn hosts(hostname: &str, own: Ipv4Addr, others: &[Entry]) -> String {
    let mut text =
        format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{own} {hostname}\n");
    for (address, names) in others {
        let _ = writeln!(text, "{address} {}", names.join(" "));
    }
    text
}

/// The host's file for a network of the job's own: its name servers may be on the host's loopback, so pasta stands in for
/// them. `None` where the host asks nobody, and the file can stay as it is.
pub(crate) fn resolv_conf(host: &str) -> Option<String> {
    let is_server = |line: &&str| line.split_whitespace().next() == Some("nameserver");
    host.lines().find(is_server)?;
    let mut text = format!("nameserver {NAME_SERVER}\n");
    for line in host.lines().filter(|line| !is_server(line)) {
        let _ = writeln!(text, "{line}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_behind_their_address() {
        let others = [(Ipv4Addr::new(198, 18, 0, 2), vec!["postgres".to_owned(), "db".to_owned()])];
        expect_test::expect![[r#"
            127.0.0.1 localhost
            ::1 localhost ip6-localhost ip6-loopback
            127.0.1.1 runner-1
            198.18.0.2 postgres db
        "#]]
        .assert_eq(&hosts("runner-1", Ipv4Addr::new(127, 0, 1, 1), &others));
    }

    #[test]
    fn the_name_server_is_replaced_and_search_domains_stay() {
        let host = "search cluster.example.com\nnameserver 127.0.0.53\nnameserver 10.0.0.1\noptions edns0\n";
        assert_eq!(
            resolv_conf(host).as_deref(),
            Some("nameserver 169.254.1.1\nsearch cluster.example.com\noptions edns0\n")
        );
        assert_eq!(resolv_conf("# nameserver none\n"), None);
    }
}
