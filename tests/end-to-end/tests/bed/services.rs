//! Databases and the like beside the job.

use std::time::Duration;

use end_to_end::bed::image;
use end_to_end::executor::{BUILD_FAILURE, Site};
use serde_json::{Value, json};

use crate::LevelTest;

pub(crate) const TESTS: &[LevelTest] = &[
    ("services: PostgreSQL, Redis and nginx by their names", by_name),
    ("services: two of one image on one port, each with its alias", two_of_one_image),
    ("services: aliases that are taken, and a service without any", taken_aliases),
    ("services: one without its variable dies, and its log says why", missing_variable),
    ("services: one that never opens its port is a warning", never_ready),
    ("services: one whose port nobody knows gets a head start", unknown_port),
    ("services: none starts for an image that is not allowed", forbidden_image),
    ("services: of 25 exposed ports the lowest 20 are asked", many_ports),
    ("services: one that ends at once is reported at once", ends_at_once),
    ("services: one whose command is not in its image fails the job", no_command),
    ("services: entrypoint, command and user of the job", overrides),
    ("services: one without a shell", without_shell),
    ("services: only public variables leak in", variables),
    ("services: they see /builds and /cache and each other", shared),
    ("services: two jobs with PostgreSQL on one node", two_jobs),
    ("services: their logs in the job log", debug),
    ("services: those of the configuration, and which are allowed", configured),
    ("services: an image that is absent, and an empty name", absent),
    ("services: who becomes another user, and may not", one_user),
];

pub(crate) fn site(level: &str, more: &str) -> Site {
    Site::new(&format!("level = \"{level}\"\n{more}"))
}

/// A service with what a test adds.
pub(crate) fn service(name: &str, more: Value) -> Value {
    let mut service = json!({ "name": image(name) });
    for (key, value) in more.as_object().into_iter().flatten() {
        service[key] = value.clone();
    }
    service
}

pub(crate) fn postgres(alias: &str) -> Value {
    let variables = json!([{ "key": "POSTGRES_PASSWORD", "value": "pass word" }]);
    service("postgres", json!({ "alias": alias, "variables": variables }))
}

/// Asks PostgreSQL at `host` for something, in the image of PostgreSQL.
fn query(host: &str, sql: &str) -> String {
    format!("PGPASSWORD='pass word' psql -h {host} -U postgres -tAc \"{sql}\"\n")
}

fn by_name(level: &str) {
    let site = site(level, "");
    let services =
        json!([postgres("db"), service("redis", json!({})), service("nginx", json!({ "alias": "web" }))]);
    let job = site.job(&image("postgres"), json!({ "services": services }));
    let log = job.prepare().success();
    assert!(log.contains("network: own, an address for each service"), "{log}");
    assert!(log.contains("Starting service 127.0.0.1/postgres:latest...\n"), "{log}");
    assert!(log.contains("Waiting for services to be up and running (timeout 30 seconds)...\n"), "{log}");
    assert!(!log.contains("WARNING"), "{log}");
    let redis = "printf 'PING\\r\\n' | nc -w 2 127.0.0.1-redis 6379\n";
    let script = [
        &query("db", "select 6 * 7"),
        &query("127.0.0.1__postgres", "select 1"),
        redis,
        "wget -qO- http://web/\n",
    ]
    .concat();
    assert_eq!(job.run("build_script", &script).success(), "42\n1\n+PONG\r\nserved by noshell\n");
    let kept = [&query("db", "create table t as select 5 as n"), ""].concat();
    job.run("step_more", &kept).success();
    assert_eq!(job.run("after_script", &query("db", "select n from t")).success(), "5\n");
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<std::path::PathBuf>::new());
}

fn two_of_one_image(level: &str) {
    let site = site(level, "");
    let redis = |alias: &str| service("redis", json!({ "alias": alias }));
    let job =
        site.job(&image("redis"), json!({ "services": [redis("one"), redis("two, other")] })).prepared();
    let script = "redis-cli -h one set k first; redis-cli -h two set k second; redis-cli -h one get k; redis-cli -h other get k";
    assert_eq!(job.run("build_script", script).success(), "OK\nOK\nfirst\nsecond\n");
}

fn taken_aliases(level: &str) {
    let site = site(level, "");
    let nginx = |alias: &str| service("nginx", json!({ "alias": alias }));
    let job = site.job(&image("busybox"), json!({ "services": [nginx("web"), nginx("web")] }));
    let log = job.prepare().success();
    let name = image("nginx");
    for alias in ["127.0.0.1__nginx", "127.0.0.1-nginx", "web"] {
        let line = format!(
            "WARNING: Skipping alias \"{alias}\" for service \"{name}\" (services[1]): alias is already in use by another service.\n"
        );
        assert!(log.contains(&line), "{line} in {log}");
    }
    assert_eq!(log.matches("Starting service").count(), 1, "{log}");
}

fn missing_variable(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox"), json!({ "services": [service("postgres", json!({}))] }));
    let log = job.prepare().success();
    assert!(
        log.contains(
            "Service runner-none-project-7-concurrent-0-127.0.0.1__postgres-0 probably didn't start properly."
        ),
        "{log}"
    );
    assert!(log.contains("ended with exit code 1\n"), "{log}");
    assert!(log.contains("Z Error: Database is uninitialized"), "{log}");
    assert_eq!(job.run("build_script", "echo the job goes on").success(), "the job goes on\n");
}

fn never_ready(level: &str) {
    let site = site(level, "wait_for_services_timeout = 2");
    let command = json!({ "command": ["sh", "-c", "echo I listen nowhere; exec sleep 1000"], "variables": [{ "key": "HEALTHCHECK_TCP_PORT", "value": "4711" }] });
    let services = json!([
        service("busybox", command),
        service("busybox", json!({ "alias": "x", "command": ["sleep", "1000"] }))
    ]);
    let log = site.job(&image("busybox"), json!({ "services": services })).prepare().success();
    assert!(log.contains("(timeout 2 seconds)"), "{log}");
    assert!(log.contains("busybox-0-wait-for-service\" timeout\n"), "{log}");
    assert!(log.contains("waiting for TCP connection to 198.18.0.2 on [4711]..."), "{log}");
    assert!(log.contains("Z I listen nowhere\n"), "{log}");
    assert!(log.contains("busybox-1\" has no exposed ports\n"), "{log}");
}

fn unknown_port(level: &str) {
    let site = site(level, "");
    let late = json!({ "alias": "late", "command": ["sh", "-c", "sleep 3; exec httpd -f -p 8080 -h /etc"] });
    let job = site.job(&image("busybox"), json!({ "services": [service("busybox", late)] }));
    assert!(job.prepare().success().contains("has no exposed ports\n"));
    assert!(job.run("build_script", "wget -qO- http://late:8080/passwd").success().contains("root"));
}

fn forbidden_image(level: &str) {
    let site = site(level, "allowed_images = [\"good/*\"]");
    let job = site.job(&image("busybox"), json!({ "services": [service("nginx", json!({}))] }));
    let prepare = job.prepare();
    assert!(!prepare.log.contains("Starting service"), "{}", prepare.log);
    prepare.failed(BUILD_FAILURE, "is not present on list of allowed images");
}

fn many_ports(level: &str) {
    let site = site(level, "wait_for_services_timeout = 3");
    let prepare = |port: &str| {
        let variables = json!([{ "key": "PORT", "value": port }]);
        let service = service("ports", json!({ "variables": variables }));
        site.job(&image("busybox"), json!({ "services": [service] })).prepare().success()
    };
    let log = prepare("9019");
    assert!(!log.contains("WARNING"), "{log}");
    let log = prepare("9020");
    let ports: Vec<String> = (9000..9020).map(|port| port.to_string()).collect();
    assert!(log.contains(&format!("on [{}]...", ports.join(" "))), "{log}");
}

/// gitlab-runner's docker executor cannot start such a container, and fails.
fn no_command(level: &str) {
    for more in ["", "wait_for_services_timeout = 0"] {
        let site = site(level, more);
        let command = json!({ "command": ["/not/there"] });
        let job = site.job(&image("busybox"), json!({ "services": [service("busybox", command)] }));
        job.prepare().failed(BUILD_FAILURE, "busybox\" has no command that can be executed\nhint: correct");
    }
}

fn ends_at_once(level: &str) {
    let site = site(level, "wait_for_services_timeout = 600");
    let command = json!({ "command": ["sh", "-c", "echo no disk left; exit 17"], "variables": [{ "key": "HEALTHCHECK_TCP_PORT", "value": "4711" }] });
    let start = std::time::Instant::now();
    let log =
        site.job(&image("busybox"), json!({ "services": [service("busybox", command)] })).prepare().success();
    // Wide: the service is waited for 600 s otherwise.
    assert!(start.elapsed() < Duration::from_secs(300), "{log}");
    assert!(log.contains("ended with exit code 17\n\nService container logs:\n2"), "{log}");
    assert!(log.contains("Z no disk left\n"), "{log}");
}

fn overrides(level: &str) {
    let site = site(level, "");
    let entrypoint = json!({ "alias": "own", "entrypoint": ["sh", "-c", "id -u > /builds/uid; exec httpd -f -p 8080 -h \"$1\"", "x"], "command": ["/etc"],
        "variables": [{ "key": "HEALTHCHECK_TCP_PORT", "value": "8080" }], "executor_opts": { "docker": { "user": "app" } } });
    let services = json!([service("user", entrypoint)]);
    let job = site.job(&image("busybox"), json!({ "services": services })).prepared();
    let log = job.run("build_script", "cat /builds/uid; wget -qO- http://own:8080/hostname").success();
    assert_eq!(log, "1234\nuser-0\n");
}

fn without_shell(level: &str) {
    let site = site(level, "");
    let job =
        site.job(&image("busybox"), json!({ "services": [service("noshell", json!({ "alias": "page" }))] }));
    let log = job.prepare().success();
    assert!(!log.contains("WARNING"), "{log}");
    assert_eq!(job.run("build_script", "wget -qO- http://page:8080/").success(), "served by noshell\n");
}

fn variables(level: &str) {
    let site = site(level, "");
    let print = json!({ "command": ["sh", "-c", "env > /builds/env; sleep 1000"],
        "variables": [{ "key": "MINE", "value": "token=$SECRET user=$OPEN" }, { "key": "RAW", "value": "$OPEN", "raw": true }] });
    let extra = json!({
        "variables": [{ "key": "SECRET", "value": "hidden", "masked": true }, { "key": "OPEN", "value": "yes", "public": true }],
        "services": [service("workdir", print)],
    });
    let job = site
        .job(&image("busybox"), extra)
        .with_environment("CUSTOM_ENV_SECRET", "hidden")
        .with_environment("CUSTOM_ENV_OPEN", "yes")
        .with_environment("HOST", "no")
        .prepared();
    let log = job.run("build_script", "grep -vE '^(PWD|SHLVL|_)=' /builds/env | sort").success();
    for line in [
        "DOLLAR=$HOME $(id) ${X}",
        "HOME=/root",
        "HOSTNAME=workdir-0",
        "MINE=token=hidden user=yes",
        "OPEN=yes",
        "RAW=$OPEN",
    ] {
        assert!(log.lines().any(|found| found == line), "{line} in {log}");
    }
    for absent in ["SECRET=", "APPTAINER", "SINGULARITY", "HOST="] {
        assert!(!log.lines().any(|found| found.starts_with(absent)), "{absent} in {log}");
    }
}

fn shared(level: &str) {
    let site = site(level, "");
    let first = service("nginx", json!({ "alias": "web" }));
    let script = "until wget -qO /builds/page http://web/; do sleep 0.1; done; echo $(hostname) > /cache/who; nc -l -p 7000 -e cat";
    let second = service(
        "busybox",
        json!({ "alias": "second", "command": ["sh", "-c", script], "variables": [{ "key": "HEALTHCHECK_TCP_PORT", "value": "7000" }] }),
    );
    let job = site.job(&image("busybox"), json!({ "services": [first, second] })).prepared();
    assert_eq!(
        job.run("build_script", "cat /builds/page /cache/who").success(),
        "served by noshell\nbusybox-1\n"
    );
    // Helper stages have the node's network.
    assert_eq!(
        job.run(
            "get_sources",
            "cat /cache/who; curl -so /dev/null -w '%{http_code}' http://127.0.0.1:5000/v2/"
        )
        .success(),
        "busybox-1\n200"
    );
}

fn two_jobs(level: &str) {
    let site = site(level, "");
    let job = || site.job(&image("postgres"), json!({ "services": [postgres("db")] })).prepared();
    let (one, two) = (job(), job());
    one.run("build_script", &query("db", "create table mine as select 1 as n")).success();
    let log = two
        .run("build_script", &query("db", "select count(*) from pg_tables where tablename = 'mine'"))
        .success();
    assert_eq!(log, "0\n");
    one.cleanup().success();
    assert_eq!(two.run("after_script", &query("db", "select 2")).success(), "2\n");
}

fn debug(level: &str) {
    let site = site(level, "");
    let command = json!({ "alias": "talker", "command": ["sh", "-c", "echo in prepare; until [ -e /builds/go ]; do sleep 0.1; done; echo in script; sleep 1000"] });
    let extra = json!({ "variables": [{ "key": "CI_DEBUG_SERVICES", "value": "true" }], "services": [service("busybox", command)] });
    let job = site.job(&image("busybox"), extra);
    let log = job.prepare().success();
    let line = |text: &str| format!("Z {text}\u{1b}[0;m\n");
    assert!(log.contains("\u{1b}[0;37m[service:127.0.0.1__busybox-127.0.0.1-busybox-talker] 2"), "{log}");
    assert!(log.contains(&line("in prepare")), "{log}");
    let log = job.run("build_script", "touch /builds/go; sleep 2").success();
    assert!(log.contains(&line("in script")) && !log.contains("in prepare"), "{log}");
}

fn configured(level: &str) {
    let services = format!(
        "allowed_services = [\"127.0.0.1:5000/redis\"]\nservices_limit = 2\nservices = [{{ name = \"{}\", alias = \"always\", command = [\"httpd\", \"-f\", \"-p\", \"$$PORT\"], variables = {{ HEALTHCHECK_TCP_PORT = \"80\", PORT = \"80\" }} }}]",
        image("busybox")
    ).replace("[\"httpd\", \"-f\", \"-p\", \"$$PORT\"]", "[\"sh\", \"-c\", \"exec httpd -f -p $$PORT -h /etc\"]");
    let site = site(level, &services);
    let job = site.job(&image("busybox"), json!({ "services": [service("redis", json!({}))] })).prepared();
    assert_eq!(job.run("build_script", "wget -qO- http://always/hostname").success(), "busybox-0\n");
    let refused = site.job(&image("busybox"), json!({ "services": [service("nginx", json!({}))] })).prepare();
    refused
        .failed(BUILD_FAILURE, "image is not present on list of allowed services:\n- 127.0.0.1:5000/redis");
    let redis = |alias: &str| service("redis", json!({ "alias": alias }));
    let many = site.job(&image("busybox"), json!({ "services": [redis("a"), redis("b")] })).prepare();
    many.failed(BUILD_FAILURE, "too many services requested: 3, only 2 allowed");
}

fn absent(level: &str) {
    let site = site(level, "");
    let prepare = |service: Value| site.job(&image("busybox"), json!({ "services": [service] })).prepare();
    prepare(service("no-such-image", json!({}))).failed(BUILD_FAILURE, "failed to pull image");
    prepare(json!({ "name": "" })).failed(BUILD_FAILURE, "invalid service image name");
    prepare(service("busybox", json!({ "entrypoint": [""] })))
        .failed(BUILD_FAILURE, "has neither entrypoint nor command");
}

/// The entry points of the servers begin as root. At level B there is nobody that they could become.
fn one_user(level: &str) {
    let site = site(level, "");
    let redis = |user: &str| {
        let options = json!({ "alias": "cache", "executor_opts": { "docker": { "user": user } } });
        json!({ "services": [service("redis", options)] })
    };
    let note = "Service 127.0.0.1/redis:latest runs as redis from its start";
    let hint = "hint: this node gives a service one user only (isolation level B)";
    let job = site.job(&image("redis"), redis(""));
    let log = job.prepare().success();
    assert_eq!(log.contains(note), level == "B", "{log}");
    assert!(!log.contains("WARNING"), "{log}");
    assert_eq!(job.run("build_script", "redis-cli -h cache ping").success(), "PONG\n");
    // Who asks for root gets root.
    let log = site.job(&image("busybox"), redis("root")).prepare().success();
    assert!(!log.contains(note), "{log}");
    assert_eq!(log.contains(hint), level == "B", "{log}");
}
