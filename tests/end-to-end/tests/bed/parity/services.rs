//! Services. What they can do besides, and how they end, is proven in the tests of their own.

use std::time::Duration;

use end_to_end::parity::{Place, Row};
use end_to_end::processes::{wait_until, with_mark};

/// Services share the namespaces of a pod, which level C has not.
const fn with_pod(name: &'static str, play: fn(&Place)) -> Row {
    Row::play(name, play).except_at_c("services need a pod")
}

pub(super) const ROWS: &[Row] = &[
    with_pod("TestDockerCommandTwoServicesFromOneImage", two_from_one_image),
    with_pod("TestDockerCommandServiceNameEmpty", empty_name),
    with_pod("TestDockerCommandMissingServiceImage", missing_image),
    with_pod("TestDockerExtendedConfigurationFromJob", extended),
    with_pod("TestDockerServiceNameFromVariable", name_from_variable),
    with_pod("TestDockerServiceHealthcheck", health_check),
    with_pod("TestDockerServiceHealthcheckOverflow", long_log),
    with_pod("TestDockerServiceAliases", aliases),
    with_pod("TestDockerHandlesAliasDuplicates", repeated_alias),
    with_pod("TestDockerCommandServiceVariables", variables),
    with_pod("TestDockerCommandWithRunnerServiceEnvironmentVariables", configured),
    with_pod("Test_CaptureServiceLogs", logs),
    with_pod("services: PostgreSQL and Redis from .gitlab-ci.yml", databases),
    with_pod("services: allowed_services and services_limit", limits),
    with_pod("services: a cancelled job takes its services along", cancelled),
    with_pod("services: timeouts take them along, after_script still has them", timeouts),
];

const WARNING: &str = "probably didn't start properly.";

/// Serves its host name on port 80.
const SERVER: &str = "registry/busybox\n    entrypoint: [sh, -c, 'exec httpd -f -p 80 -h /etc']\n    variables: {HEALTHCHECK_TCP_PORT: '80'}";

fn two_from_one_image(place: &Place) {
    place
        .job(&format!(
            "services:\n  - name: {SERVER}\n    alias: one\n  - name: {SERVER}\n    alias: two\nscript: [wget -qO- http://one/hostname, wget -qO- http://two/hostname]"
        ))
        .passes()
        .says("busybox-0")
        .says("busybox-1")
        .shows("(services[1]): alias is already in use by another service.")
        .hides(WARNING);
}

fn empty_name(place: &Place) {
    place
        .job("variables: {NOTHING: ''}\nservices: ['$NOTHING']\nscript: [echo never]")
        .fails_as("script_failure")
        .shows("invalid service image name")
        .hides("system failure");
}

fn missing_image(place: &Place) {
    place
        .job("services: [registry/nothere:1]\nscript: [echo never]")
        .fails_as("script_failure")
        .shows("manifest unknown");
}

fn extended(place: &Place) {
    place
        .job(
            "image: {name: registry/busybox, entrypoint: ['']}
services:
  - name: registry/user
    alias: web
    entrypoint: [sh, -c, 'exec httpd -f -p 8080 -h \"$1\"', x]
    command: [/etc]
    pull_policy: always
    docker: {user: app}
    variables: {HEALTHCHECK_TCP_PORT: '8080'}
script: ['wget -qO- http://web:8080/hostname']",
        )
        .passes()
        .says("user-0");
}

fn name_from_variable(place: &Place) {
    place
        .job("variables: {WHICH: noshell, AS: page}\nservices: [{name: 'registry/$WHICH', alias: '$AS'}]\nscript: [wget -qO- http://page:8080/]")
        .passes()
        .says("Starting service 127.0.0.1/noshell:latest...")
        .says("served by noshell");
}

fn health_check(place: &Place) {
    place.job("services: [registry/noshell]\nscript: [echo ok]").passes().hides(WARNING);
    let place = place.with_executor("wait_for_services_timeout = 2");
    let with_port = |port: u16| {
        format!(
            "services:\n  - name: registry/noshell\n    variables: {{HEALTHCHECK_TCP_PORT: '{port}'}}\nscript: [echo the job goes on]"
        )
    };
    place.job(&with_port(8080)).passes().hides(WARNING);
    place.job(&with_port(8081)).passes().shows(WARNING).shows("on [8081]...").says("the job goes on");
}

fn long_log(place: &Place) {
    let script = "awk \"BEGIN { for (i = 0; i < 20000; i++) print \\\"line\\\", i }\"; exit 1";
    let ran = place
        .job(&format!(
            "services: [{{name: registry/busybox, entrypoint: [sh, -c, '{script}']}}]\nscript: [echo ok]"
        ))
        .passes()
        .shows("Z line 0")
        .hides("line 19999");
    let shown = ran.log.lines().filter(|line| line.contains("Z line ")).count();
    assert!((1000..2000).contains(&shown), "{shown} lines of 64 KiB");
}

fn aliases(place: &Place) {
    let names = ["127.0.0.1__busybox", "127.0.0.1-busybox", "db", "sql", "third"];
    let script: Vec<String> = names.iter().map(|name| format!("wget -qO- http://{name}/hostname")).collect();
    let ran = place
        .job(&format!(
            "services:\n  - name: {SERVER}\n    alias: 'db sql, third'\nscript: [{}]",
            script.join(", ")
        ))
        .passes();
    assert_eq!(ran.log.lines().filter(|line| *line == "busybox-0").count(), names.len(), "{ran}");
}

fn repeated_alias(place: &Place) {
    place
        .job(&format!(
            "services:\n  - name: {SERVER}\n    alias: db db\nscript: [wget -qO- http://db/hostname]"
        ))
        .passes()
        .says("busybox-0")
        .hides("Skipping alias");
}

fn variables(place: &Place) {
    let place = place.with_variables(serde_json::json!([
        { "key": "PRIVATE", "value": "private-value", "public": false },
        { "key": "OPEN", "value": "open-value", "public": true },
    ]));
    place
        .job(
            "variables: {OF_JOB: from-job}
services:
  - name: registry/busybox
    entrypoint: [sh, -c, 'env > /builds/env; sleep 1000']
    variables: {OWN: own-value, COMPOSED: '$PRIVATE+$OF_JOB'}
script: [\"grep -E '^(OWN|COMPOSED|OF_JOB|CI_JOB_ID)=' /builds/env | cut -d= -f1,2 | sed 's/private/p/'\", \"! grep -E '^(PRIVATE|CI_JOB_TOKEN)=' /builds/env\"]",
        )
        .passes()
        .says("OWN=own-value")
        .says("COMPOSED=p-value+from-job")
        .says("OF_JOB=from-job");
}

fn configured(place: &Place) {
    place
        .with_executor(
            "services = [{ name = \"127.0.0.1:5000/busybox\", alias = \"always\", entrypoint = [\"sh\", \"-c\", \"exec httpd -f -p $$PORT -h /etc\"], variables = { PORT = \"81\", HEALTHCHECK_TCP_PORT = \"81\" } }]",
        )
        .job("script: [wget -qO- http://always:81/hostname]")
        .passes()
        .says("busybox-0");
}

fn logs(place: &Place) {
    let job = |value: &str| {
        format!(
            "variables: {{CI_DEBUG_SERVICES: '{value}'}}\nservices: [{{name: registry/busybox, alias: talker, entrypoint: [sh, -c, 'while true; do echo still here; sleep 0.2; done']}}]\nscript: [sleep 1]"
        )
    };
    let line = "[service:127.0.0.1__busybox-127.0.0.1-busybox-talker] 2";
    place.job(&job("true")).passes().shows(line);
    place.job(&job("false")).passes().hides(line);
    place.job(&job("maybe")).passes().hides(line);
}

fn databases(place: &Place) {
    place
        .job(
            "image: registry/postgres
variables: {POSTGRES_PASSWORD: pw, PGPASSWORD: pw, POSTGRES_DB: app}
services: [{name: registry/postgres, alias: db}, registry/redis]
script: [psql -h db -U postgres -tAc 'select current_database()' app, \"printf 'PING\\r\\n' | nc -w 2 127.0.0.1-redis 6379\"]
after_script: [psql -h db -U postgres -tAc 'select 40 + 2']",
        )
        .passes()
        .says("app")
        .shows("+PONG")
        .says("42")
        .hides(WARNING);
}

fn limits(place: &Place) {
    let place = place.with_executor("services_limit = 1\nallowed_services = [\"127.0.0.1:5000/noshell\"]");
    place.job("services: [registry/noshell]\nscript: [echo ok]").passes();
    place
        .job("services: [registry/busybox]\nscript: [echo never]")
        .fails_as("script_failure")
        .shows("The \"127.0.0.1:5000/busybox\" image is not present on list of allowed services:");
    place
        .job("services: [registry/noshell, {name: registry/noshell, alias: x}]\nscript: [echo never]")
        .fails_as("script_failure")
        .shows("too many services requested: 2, only 1 allowed");
}

fn cancelled(place: &Place) {
    let mark = 830_000 + u32::from(place.level() == "A");
    let job = place.start(&format!(
        "services: [{{name: registry/busybox, entrypoint: [sh, -c, 'sleep {mark}']}}]\nscript: ['while true; do echo tick; sleep 1; done']"
    ));
    job.wait_for("tick").cancel();
    job.end().is_canceled();
    assert_eq!(with_mark(&format!("sleep {mark}")), Vec::<u32>::new());
}

fn timeouts(place: &Place) {
    let mark = 830_010 + u32::from(place.level() == "A");
    let service = format!(
        "name: registry/busybox, alias: web, entrypoint: [sh, -c, 'sleep {mark} & exec httpd -f -p 80 -h /etc'], variables: {{HEALTHCHECK_TCP_PORT: '80'}}"
    );
    let job = |more: &str| {
        format!(
            "{more}\nservices: [{{{service}}}]\nscript: [echo begun, sleep {mark}]\nafter_script: [wget -qO- http://web/hostname]"
        )
    };
    let nothing_is_left = || {
        // Wide: the rule is 5 s.
        wait_until("all processes are gone", Duration::from_secs(30), || {
            with_mark(&format!("sleep {mark}")).is_empty()
        });
    };
    place
        .job(&job("variables: {RUNNER_SCRIPT_TIMEOUT: 3s}"))
        .fails_as("job_execution_timeout")
        .says("busybox-0");
    nothing_is_left();
    place
        .job(&job("timeout: 12 seconds"))
        .fails_as("job_execution_timeout")
        .says("begun")
        .hides("busybox-0\n");
    nothing_is_left();
}
