//! `config`: tells gitlab-runner the paths inside the job and who we are. It must be quick: it reads nothing.

use serde::Serialize;

/// The answer on stdout.
#[derive(Serialize)]
struct Answer<'a> {
    driver: Driver,
    /// Shown behind `via` in the log's line `Running on JOB via HOSTNAME...`; docker has the machine there. Nothing else uses it.
    hostname: &'a str,
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

/// The JSON text on the node with this host name.
pub(crate) fn answer(node: &str) -> String {
    let answer = Answer {
        driver: Driver { name: "gitlab-meta-runner", version: env!("CARGO_PKG_VERSION") },
        hostname: node,
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
            r#"{"driver":{"name":"gitlab-meta-runner","version":"0.1.0"},"hostname":"node7","builds_dir":"/builds","cache_dir":"/cache","builds_dir_is_shared":false}"#
        ]]
        .assert_eq(&answer("node7"));
    }
}
