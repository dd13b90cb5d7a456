//! Jobs as people are told of them: a line, however many there are.

/// Jobs that are named; the others are counted.
const NAMED: usize = 5;

/// `job 7`, `jobs 7, 8`, `jobs 1, 2, 3, 4, 5 and 7 others`.
pub(crate) fn job_names(jobs: &[u64]) -> String {
    let named = jobs.iter().take(NAMED).map(u64::to_string).collect::<Vec<_>>().join(", ");
    match jobs.len() {
        1 => format!("job {named}"),
        all if all > NAMED => format!("jobs {named} and {} others", all - NAMED),
        _ => format!("jobs {named}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_are_named() {
        let names = |count: u64| job_names(&(1..=count).collect::<Vec<_>>());
        assert_eq!(names(1), "job 1");
        assert_eq!(names(5), "jobs 1, 2, 3, 4, 5");
        assert_eq!(names(7), "jobs 1, 2, 3, 4, 5 and 2 others");
    }
}
