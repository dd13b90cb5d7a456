//! The host name of a job, as docker names its containers.

/// `runner-<short token>-project-<id>-concurrent-0`: run-single has one slot. A token's odd characters become dashes, and the
/// name is cut at the 63 characters of a host name.
pub(crate) fn of_job(short_token: &str, project: u64) -> String {
    let token: String = short_token
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let mut name = format!("runner-{token}-project-{project}-concurrent-0");
    name.truncate(63);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_token_makes_no_odd_name() {
        assert_eq!(of_job("T_k/..", 3), "runner-t-k----project-3-concurrent-0");
        assert_eq!(of_job(&"x".repeat(100), 3).len(), 63);
    }
}
