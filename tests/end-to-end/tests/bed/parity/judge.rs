//! Image semantics, judged by podman: each image of the bed is asked the same questions under podman and under ours, in the
//! shape in which gitlab-runner's docker executor starts a container.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use end_to_end::bed::image;
use end_to_end::parity::{Place, Row};
use serde_json::json;

use super::ONE_USER;
use super::differences::{Sides, may_differ};

pub(super) const ROWS: &[Row] = &[
    Row::play("image semantics as podman's: busybox", |place| compare(place, "busybox"))
        .except_at_c(ONE_USER),
    Row::play("image semantics as podman's: debian", |place| compare(place, "debian")).except_at_c(ONE_USER),
    Row::play("image semantics as podman's: entrypoint", |place| compare(place, "entrypoint"))
        .except_at_c(ONE_USER),
    Row::play("image semantics as podman's: multilayer", |place| compare(place, "multilayer"))
        .except_at_c(ONE_USER),
    Row::play("image semantics as podman's: user", |place| compare(place, "user")).except_at_c(ONE_USER),
    Row::play("image semantics as podman's: workdir", |place| compare(place, "workdir"))
        .except_at_c(ONE_USER),
    Row::play("image semantics as podman's: exit codes", exit_codes),
];

/// Finds the shell as gitlab-runner does.
const DETECTOR: &str = "for shell in /usr/local/bin/bash /usr/bin/bash /bin/bash /usr/local/bin/sh /usr/bin/sh /bin/sh /busybox/sh; do \
    if [ -x \"$shell\" ]; then exec \"$shell\"; fi; done; echo shell not found; exit 1";

/// Name of a question and the shell text that answers it.
const QUESTIONS: &[(&str, &str)] = &[
    ("user", "id -u; id -g; id -G"),
    ("working directory", "pwd"),
    ("environment", "env | grep -v -e ^SHLVL= -e ^_= | sort"),
    (
        "host name",
        "cat /proc/sys/kernel/hostname /etc/hostname; hostname; grep -c \"$(cat /etc/hostname)\" /etc/hosts",
    ),
    ("umask", "umask; touch /tmp/of-umask; stat -c %a /tmp/of-umask"),
    ("/tmp", "stat -c '%n %a %u %g' /tmp /var/tmp; ls -A /tmp | grep -v of-umask"),
    ("HOME", "echo \"$HOME\"; stat -c '%a %u %g' \"$HOME\"; touch \"$HOME/x\" && echo writable"),
    (
        "root directory",
        "stat -c 'mode %a' /; stat -c 'owner %u %g' /; ls -A / | sort; touch /x 2>/dev/null && echo writable",
    ),
    (
        "owners and modes",
        "find /etc /data /srv /usr/bin /home -maxdepth 2 -exec stat -c '%n %a %u %g' {} + 2>/dev/null \
         | grep -v -e /etc/hosts -e /etc/resolv.conf -e /etc/hostname | sort",
    ),
    ("what can be read", "cat /srv/app/private /srv/root-only /data/closed/file 2>&1"),
    (
        "changing owners",
        "touch /tmp/owned; chown 1234:99 /tmp/owned 2>&1; stat -c '%u %g' /tmp/owned; chmod 6755 /tmp/owned; stat -c %a /tmp/owned",
    ),
    ("devices", "ls /dev | sort"),
    (
        "device types",
        "cd /dev; for name in null zero full random urandom tty ptmx; do printf '%s ' $name; stat -L -c '%F %a %t:%T' $name; done",
    ),
    ("device links", "cd /dev; for name in fd stdin stdout stderr; do readlink $name; done"),
    (
        "devices work",
        "echo x > /dev/null && echo null; head -c 1 /dev/urandom | wc -c; echo x 2>/dev/null > /dev/full || echo full; \
         test -w /dev/shm && echo shm; echo to stderr > /dev/stderr",
    ),
    ("new devices", "mknod /tmp/device c 1 3 2>/dev/null && echo made || echo refused"),
    ("shared memory", "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2; stat -c 'mode %a' /dev/shm"),
    ("mount points", "awk '{print $5}' /proc/self/mountinfo | sort -u"),
    ("read-only mounts", "awk '$6 ~ /(^|,)ro(,|$)/ {print $5}' /proc/self/mountinfo | sort -u"),
    (
        "secrets of the kernel",
        "head -c 1 /proc/kcore 2>/dev/null | wc -c; cat /proc/timer_list 2>/dev/null | wc -c",
    ),
    ("kernel settings", "(echo 1 > /proc/sys/kernel/sysrq) 2>/dev/null && echo written || echo refused"),
    ("mounting", "mkdir -p /tmp/m; mount -t tmpfs none /tmp/m 2>/dev/null && echo mounted || echo refused"),
    ("capabilities", "grep -e ^Cap /proc/self/status"),
    ("privileges", "grep -e ^NoNewPrivs /proc/self/status"),
    ("system calls", "grep -e ^Seccomp: /proc/self/status"),
    ("shell", "readlink /proc/$$/exe; echo \"$0 $-\""),
    ("signals", "grep -e ^SigIgn -e ^SigBlk /proc/self/status"),
    (
        "descriptors",
        "test -t 0 && echo terminal; for name in /proc/self/fd/*; do basename $name; done | head -n 3",
    ),
    ("limits", "ulimit -s; ulimit -c; ulimit -f"),
    (
        "volumes",
        "touch /builds/x && stat -c '%a %u %g' /builds; stat -c '%u' /builds/x; test -w /cache && echo writable",
    ),
];

/// The answers by question.
type Answers = BTreeMap<String, String>;

fn script() -> String {
    let ask = |(name, text): &(&str, &str)| format!("echo '== {name}'\n( {text} ) 2>&1\n");
    QUESTIONS.iter().map(ask).collect()
}

fn answers(log: &str) -> Answers {
    let parts = log.split("== ").skip(1);
    parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

/// Panics with every answer in which the two differ and may not.
fn compare(place: &Place, name: &str) {
    let tag = if name == "debian" { "sid" } else { "latest" };
    let job = place.site().job(&image(&format!("{name}:{tag}")), json!({})).prepared();
    let log = job.run("build_script", &script()).success();
    let ours = answers(&log);
    assert_eq!(ours.len(), QUESTIONS.len(), "{log}");
    let hostname = ours["host name"].lines().next().unwrap_or_default();
    let theirs = answers(&podman(&format!("{name}:{tag}"), hostname, &script()).0);
    let mut report = String::new();
    for (question, _) in QUESTIONS {
        let sides = Sides {
            podman: lines_beyond(&theirs, &ours, question),
            ours: lines_beyond(&ours, &theirs, question),
        };
        if !may_differ(question, name, place.level(), &sides) {
            report.push_str(&format!("{question}\n{sides}"));
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// Lines of an answer that the other answer has not.
fn lines_beyond(answers: &Answers, other: &Answers, question: &str) -> BTreeSet<String> {
    let lines = |answers: &Answers| -> BTreeSet<String> {
        answers.get(question).map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
    };
    lines(answers).difference(&lines(other)).cloned().collect()
}

/// What a script prints under podman, and its exit code.
fn podman(image_name: &str, hostname: &str, script: &str) -> (String, Option<i32>) {
    let mut command = Command::new("podman");
    command.args(["run", "--rm", "-i", "--quiet", "--pull=newer", "--hostname", hostname]);
    // gitlab-runner's volumes are open to every user.
    command.args(["--tmpfs", "/builds:mode=777", "--tmpfs", "/cache:mode=777"]);
    command.args([&image(image_name), "sh", "-c", DETECTOR]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut podman = command.spawn().expect("podman starts");
    let mut stdin = podman.stdin.take().expect("it was asked for");
    stdin.write_all(script.as_bytes()).expect("podman reads");
    drop(stdin);
    let output = podman.wait_with_output().expect("podman is our child");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

fn exit_codes(place: &Place) {
    let job = place.site().job(&image("busybox:latest"), json!({})).prepared();
    for script in [
        "exit 0",
        "exit 1",
        "exit 42",
        "exit 255",
        "sh -c 'kill -KILL $$'",
        "sh -c 'kill -TERM $$'; exit $?",
        "no-such-command",
        "exec /",
        "( exit 7 ); exit",
    ] {
        let (_, theirs) = podman("busybox:latest", "host", script);
        let ended = job.run("build_script", script);
        let ours = ended.script_code.as_deref().map_or(Some(ended.code), |code| code.parse().ok());
        assert_eq!(ours, theirs, "{script}: {}", ended.log);
    }
}
