//! `config`: tells gitlab-runner the paths inside the job and who we are. It must be quick: it only reads the job file.

use serde::Serialize;

use crate::hostname;

/// The answer on stdout.
#[derive(Serialize)]
struct Answer {
    driver: Driver,
    hostname: String,
    /// Each job has its own directory, seen at docker's path.
    builds_dir: &'static str,
    cache_dir: &'static str,
    builds_dir_is_shared: bool,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
}

/// The JSON text for a runner with this short token, working on this project.
pub(crate) fn answer(short_token: &str, project: u64) -> String {
    let answer = Answer {
        driver: Driver { name: "gitlab-meta-runner", version: env!("CARGO_PKG_VERSION") },
        hostname: hostname::of_job(short_token, project),
        builds_dir: "/builds",
        cache_dir: "/cache",
        builds_dir_is_shared: false,
    };
    serde_json::to_string(&answer).expect("the answer has only strings and a bool")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_what_docker_would_use() {
        expect_test::expect![[
            r#"{"driver":{"name":"gitlab-meta-runner","version":"0.1.0"},"hostname":"runner-abc123-project-7-concurrent-0","builds_dir":"/builds","cache_dir":"/cache","builds_dir_is_shared":false}"#
        ]]
        .assert_eq(&answer("abc123", 7));
    }
}
