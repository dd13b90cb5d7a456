//! The custom executor's contract, seen from the driver's side.

use crate::support::{PLAIN_DRIVER, Sandbox, job, readable, set};
use serde_json::{Value, json};

#[test]
fn a_job_goes_through_its_calls_in_order() {
    let mut job = job(7, &["echo hello", "echo A=fromscript >> $GITLAB_ENV"]);
    job["steps"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "after_script", "script": ["echo after $A $CI_JOB_STATUS"]}));
    let sandbox = Sandbox::with_driver(vec![job], PLAIN_DRIVER, "");
    sandbox.run(1);
    let stages = ["prepare_script", "get_sources", "build_script", "after_script", "cleanup_file_variables"];
    let runs = stages.map(|stage| format!("run {stage}"));
    assert_eq!(
        sandbox.calls(),
        ["config", "prepare"]
            .map(str::to_owned)
            .into_iter()
            .chain(runs)
            .chain(["cleanup".to_owned()])
            .collect::<Vec<_>>()
    );
    assert_eq!(sandbox.server.outcome(), ("success".into(), String::new(), 0));
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    let log = readable(&sandbox.server.log());
    for line in [
        "Running with gitlab-runner 19.4.0 (stand-in)",
        "Preparing the \"custom\" executor",
        "Using Custom executor...",
        "$ echo hello",
        "hello",
        "Running after script...",
        "after fromscript success",
        "Job succeeded",
    ] {
        assert!(log.lines().any(|found| found == line), "{line} is not in\n{log}");
    }
    assert!(log.contains(" via node..."), "{log}");
}

#[test]
fn a_driver_finds_what_it_is_promised() {
    let driver = r#"
        if [ "$1" = run ] && [ "$3" = build_script ]; then
            env > "$SANDBOX/env"
            pwd > "$SANDBOX/cwd"
            stat -c '%a %n' . response.json "${2%/script}" "$2" > "$SANDBOX/modes"
            cp response.json "$SANDBOX/"
            readlink /proc/self/fd/0 > "$SANDBOX/stdin"
            cut -d' ' -f5 /proc/$$/stat > "$SANDBOX/group"; echo $$ >> "$SANDBOX/group"
        fi
        [ "$1" != config ] || echo '{"builds_dir":"/b","cache_dir":"/c","builds_dir_is_shared":true,
            "job_env":{"EXTRA":"yes","CUSTOM_ENV_CI_JOB_ID":"no"}}'
    "#;
    let mut job = job(7, &["true"]);
    set(&mut job, "CI_JOB_ID", "7");
    set(&mut job, "CI_BUILDS_DIR", "/forged");
    set(&mut job, "IMAGE", "debian:sid");
    job["variables"]
        .as_array_mut()
        .unwrap()
        .push(json!({"key": "CA", "value": "pem\n$IMAGE", "file": true, "raw": true}));
    job["image"] = json!({"name": "registry/$IMAGE"});
    job["services"] =
        json!([{"name": "postgres:16", "alias": "db, sql", "variables": [{"key": "V", "value": "$IMAGE"}]}]);
    let sandbox = Sandbox::with_driver(vec![job], driver, "");
    sandbox.run(1);

    let env = sandbox.read("env");
    let cwd = sandbox.read("cwd").trim().to_owned();
    for line in [
        "BUILD_FAILURE_EXIT_CODE=1",
        "SYSTEM_FAILURE_EXIT_CODE=2",
        "EXTRA=yes",
        "CUSTOM_ENV_CI_JOB_ID=7",
        "CUSTOM_ENV_CI_BUILDS_DIR=/forged",
        "CUSTOM_ENV_CI_PROJECT_DIR=/b/012345678/0/hpc/solver",
        "CUSTOM_ENV_CI_SHARED_ENVIRONMENT=true",
        "CUSTOM_ENV_CI_JOB_IMAGE=registry/debian:sid",
        "CUSTOM_ENV_FF_TIMESTAMPS=true",
        "CUSTOM_ENV_CA=pem",
        r#"CUSTOM_ENV_CI_JOB_SERVICES=[{"name":"postgres:16","alias":"db","entrypoint":null,"command":null,"variables":{"V":"debian:sid"}}]"#,
        &format!("TMPDIR={cwd}"),
        &format!("JOB_RESPONSE_FILE={cwd}/response.json"),
        &format!("BUILD_EXIT_CODE_FILE={cwd}/build_exit_code"),
    ] {
        assert!(env.lines().any(|found| found == line), "{line} is not in\n{env}");
    }
    let name = format!("{}/custom-executor", sandbox.path("tmp").display());
    let end = cwd.strip_prefix(&name).unwrap_or_else(|| panic!("{cwd}"));
    assert!(!end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()), "{cwd}");
    let modes: Vec<String> = sandbox.read("modes").lines().map(|line| line[..3].to_owned()).collect();
    assert_eq!(modes, ["700", "600", "700", "700"]);
    assert_eq!(sandbox.read("stdin").trim(), "/dev/null");
    let group = sandbox.read("group");
    let ids: Vec<&str> = group.lines().collect();
    assert_eq!(ids[0], ids[1], "the driver leads its process group");
    let response: Value = serde_json::from_str(&sandbox.read("response.json")).unwrap();
    assert_eq!(response["image"]["name"], "registry/debian:sid");
    assert_eq!(response["services"][0]["alias"], "db, sql");
    assert_eq!(response["cache"], Value::Null);
    assert_eq!(response["inputs"], json!({}));
}

/// The outcome of a job whose `build_script` call ends with these shell lines.
fn ended_with(lines: &str) -> ((String, String, i64), String) {
    let driver =
        PLAIN_DRIVER.replace("run)", &format!("run) if [ \"$3\" = build_script ]; then {lines}\nfi"));
    let sandbox = Sandbox::with_driver(vec![job(7, &["true"])], &driver, "");
    sandbox.run(1);
    (sandbox.server.outcome(), readable(&sandbox.server.log()))
}

#[test]
fn exit_codes_of_run_exec() {
    let failed = |reason: &str, code| ("failed".to_owned(), reason.to_owned(), code);
    for (lines, outcome, last) in [
        ("exit 1", failed("script_failure", 1), "ERROR: Job failed: exit status 1"),
        (
            "echo 42 > $BUILD_EXIT_CODE_FILE; exit 1",
            failed("script_failure", 42),
            "ERROR: Job failed: exit status 42",
        ),
        ("exit 2", failed("runner_system_failure", 0), "ERROR: Job failed (system failure): exit status 2"),
        (
            "exit 77",
            failed("runner_system_failure", 0),
            "ERROR: Job failed (system failure): unknown Custom executor executable exit code 77; \
             executable execution terminated with: exit status 77",
        ),
        (
            "kill -9 $$",
            failed("runner_system_failure", 0),
            "ERROR: Job failed (system failure): unknown Custom executor executable exit code -1; \
             executable execution terminated with: signal: killed",
        ),
    ] {
        let (found, log) = ended_with(lines);
        assert_eq!(found, outcome, "{lines}");
        assert_eq!(log.lines().last(), Some(last), "{lines}\n{log}");
    }
}

#[test]
fn a_failure_in_prepare_is_final_if_it_is_the_jobs() {
    let driver = "echo $1 >> $SANDBOX/calls; [ $1 != prepare ] || exit 1
        [ $1 != config ] || echo '{\"builds_dir\":\"/b\",\"cache_dir\":\"/c\"}'";
    let sandbox = Sandbox::with_driver(vec![job(7, &["true"])], driver, "");
    sandbox.run(1);
    assert_eq!(sandbox.calls(), ["config", "prepare", "cleanup"]);
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "script_failure".into(), 1));
}

#[test]
fn a_system_failure_in_prepare_is_tried_three_times() {
    let driver = "echo $1 >> $SANDBOX/calls; [ $1 != config ] || { echo no good >&2; exit 2; }";
    let sandbox = Sandbox::with_driver(vec![job(7, &["true"])], driver, "");
    let start = std::time::Instant::now();
    sandbox.run(1);
    assert_eq!(sandbox.calls(), ["config", "cleanup"].repeat(3));
    assert!(start.elapsed().as_secs() >= 9, "{:?}", start.elapsed());
    let log = readable(&sandbox.server.log());
    assert_eq!(
        log.matches("ERROR: Preparation failed: exit status 2\nWill be retried in 3s ...").count(),
        3,
        "{log}"
    );
    assert_eq!(log.matches("no good").count(), 3);
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "runner_system_failure".into(), 0));
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_missing_directory_is_a_configuration_error() {
    let sandbox = Sandbox::with_driver(vec![job(7, &["true"])], "[ $1 != config ] || echo '{}'", "");
    sandbox.run(1);
    let log = readable(&sandbox.server.log());
    assert!(log.contains("ERROR: Job failed: the builds_dir is not configured"), "{log}");
    // The server didn't say that it knows configuration errors.
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "script_failure".into(), 0));
}

#[test]
fn what_the_stand_in_lacks_fails_clearly() {
    let mut job = job(7, &["true"]);
    job["secrets"] = json!({"A": {"vault": {}}});
    let sandbox = Sandbox::with_driver(vec![job], PLAIN_DRIVER, "");
    sandbox.run(1);
    assert!(
        sandbox.server.log().contains("this job needs `secrets`, which the gitlab-runner stand-in lacks")
    );
    assert_eq!(sandbox.calls(), Vec::<String>::new());
}
