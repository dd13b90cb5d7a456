//! What an image finds around itself: users, rights, devices, directories, as podman has them.

use end_to_end::bed::{self, image};
use end_to_end::executor::BUILD_FAILURE;
use serde_json::json;
use tempfile::TempDir;

use crate::LevelTest;
use crate::inside::site;
use crate::podman::podman;

pub(crate) const TESTS: &[LevelTest] = &[
    ("inside: users are found as podman finds them", users),
    ("inside: capabilities, kernel files and devices as podman has them", surroundings),
    ("inside: user, home and files of the image", user),
    ("inside: working directory and environment of the image", environment),
    ("inside: a working directory that the image does not have", missing_directory),
    ("inside: root, writable everywhere, kept until after_script", writable),
    ("inside: the writable layer is not written out after each stage", volatile),
];

fn users(level: &str) {
    let site = site(level, "");
    let script = "id -u; id -g; id -G; echo $HOME; grep CapEff /proc/self/status; touch /tmp/f; stat -c %u:%g /tmp/f\n";
    let run = |user: &str| {
        let user = json!({ "image": { "executor_opts": { "docker": { "user": user } } } });
        site.job(&image("debian:sid"), user)
    };
    // At level B everything belongs to one id, whatever its number.
    let users: &[&str] = if level == "A" {
        &["", "0", "1000", "games", "games:video", "5:root", "1234:audio", "65534:65534"]
    } else {
        &["", "games", "1234"]
    };
    for user in users {
        let ours = run(user).prepared().run("build_script", script).success();
        let theirs = podman(&["--user", user, &image("debian:sid"), "sh"], script);
        assert_eq!(ours, theirs.log, "{user}");
    }
    run("nosuch").prepare().failed(BUILD_FAILURE, "the image has no user `nosuch`");
    run("games:nosuch").prepare().failed(BUILD_FAILURE, "the image has no user `games:nosuch`");
    if level == "A" {
        run("99999").prepare().failed(BUILD_FAILURE, "cannot run the image as user 99999:0");
    }
}

/// Each line is one answer; podman gives the same in the same image.
const SURROUNDINGS: &str = r#"
grep -e CapPrm -e CapEff -e CapBnd -e NoNewPrivs /proc/self/status
for path in /proc/sys/kernel/domainname /proc/sysrq-trigger /sys/fs/cgroup/x; do (: > $path) 2>/dev/null && echo wrote $path; done
cat /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null; ls -A /proc/acpi /sys/firmware
ls /dev | grep -v -e core -e console
for device in null zero full random urandom; do dd if=/dev/$device of=/dev/null bs=1 count=1 2>/dev/null && echo $device; done
stat -c '%a %n' /dev/shm /dev/mqueue /dev/pts /tmp /var/tmp
umask; ulimit -c; ulimit -S -c unlimited && ulimit -c; id -u; id -g; id -G; pwd
read -r line; echo "status $? of a read"
cat /proc/self/mountinfo | grep -c ' / / rw'
"#;

fn surroundings(level: &str) {
    let site = site(level, "");
    let ours =
        site.job(&image("debian:sid"), json!({})).prepared().run("build_script", &script(SURROUNDINGS));
    let podman = podman(&[&image("debian:sid"), "sh"], &script(SURROUNDINGS));
    assert_eq!(ours.success(), podman.log);
    let size = "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2";
    let site = self::site(level, "shm_size = 8388608");
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    assert_eq!(job.run("build_script", size).success(), "8192\n");
}

/// gitlab-runner runs the body of a script so: in a subshell without input.
fn script(body: &str) -> String {
    format!("({body}) < /dev/null\n")
}

fn user(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("user:latest"), json!({})).prepared();
    let log = job
        .run("build_script", "id -u; id -g; echo $HOME; touch /builds/mine && stat -c %u /builds/mine")
        .success();
    assert_eq!(log, "1234\n1234\n/home/app\n1234\n");
    if level == "A" {
        // Other groups need other ids.
        let script = "cat /srv/group-only; grep Groups /proc/self/status; for file in /srv/*; do stat -c '%n %u:%g' $file; done";
        let theirs = podman(&[&image("user:latest"), "sh"], script);
        assert_eq!(job.run("build_script", script).success(), theirs.log);
        assert!(theirs.log.starts_with("group\n"), "{}", theirs.log);
        let number = json!({ "image": { "executor_opts": { "docker": { "user": "4321:99" } } } });
        let log = site
            .job(&image("busybox:latest"), number)
            .prepared()
            .run("build_script", "id -u; id -g")
            .success();
        assert_eq!(log, "4321\n99\n");
    }
}

fn environment(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("workdir:latest"), json!({})).prepared();
    let log = job.run("build_script", "pwd; echo \"$DOLLAR|$QUOTES|$SPACES|\"").success();
    assert_eq!(log, "/srv/work\n$HOME $(id) ${X}|it's \"quoted\"|two  words |\n");
}

fn missing_directory(level: &str) {
    let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let containerfile =
        format!("FROM {}\nWORKDIR /not/there\nRUN cd / && rm -r /not\n", image("busybox:latest"));
    let name = format!("no-workdir-{}:1", level.to_lowercase());
    let name = bed::make_image(directory.path(), &name, &containerfile);
    let script = "pwd; stat -c '%a %u:%g' . ..; touch file && ls\n";
    let ours = site(level, "").job(&name, json!({})).prepared().run("build_script", script).success();
    assert_eq!(ours, podman(&[&name, "sh"], script).log);
}

fn writable(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let script = "id -u; rm -r /usr/share/doc; mkdir /new; echo kept > /tmp/file; ls -ld /tmp | cut -c1-10; umask; sleep 5000 & true";
    assert_eq!(job.run("build_script", script).success(), "0\ndrwxrwxrwt\n0022\n");
    let after = "cat /tmp/file; ls -d /new /usr/share/doc 2>/dev/null; cat /proc/[0-9]*/comm | grep -c sleep";
    assert_eq!(job.run("after_script", after).log, "kept\n/new\n0\n");
    let next = site.job(&image("debian:sid"), json!({})).prepared();
    assert_eq!(
        next.run("build_script", "ls -d /usr/share/doc; ls /new 2>/dev/null || echo clean").success(),
        "/usr/share/doc\nclean\n"
    );
    if level == "A" {
        let log = job.run(
            "build_script",
            "useradd someone && su someone -c 'id -un'; chown 1234 /new && stat -c %u /new",
        );
        assert!(log.log.ends_with("someone\n1234\n"), "{}", log.log);
    }
}

/// At the end of a stage overlayfs would write out all that the node's file system has to write, unless it is told not to.
fn volatile(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    let script = "grep -c '^overlay / .*volatile' /proc/mounts; touch /new; sync";
    assert_eq!(job.run("build_script", script).success(), "1\n");
    assert_eq!(
        job.run("after_script", "ls /new; grep -c '^overlay / .*volatile' /proc/mounts").success(),
        "/new\n1\n"
    );
}
