//! Programs that give rights to who calls them: `sudo`, `su`, set-user-id programs, capabilities of files.

use std::fs;
use std::path::PathBuf;

use end_to_end::bed::image;
use end_to_end::processes::{LIMIT, wait_until, with_mark};
use serde_json::json;

use crate::Test;
use crate::barriers::{executable, prepared, rootfs};
use crate::inside::site;
use crate::podman::podman;

/// At level A. At the others there is nobody to become.
pub(crate) const TESTS: &[Test] = &[
    ("inside: level A: programs that give rights do what they do under podman", rights),
    ("barriers: level A: who became root has no more than docker's root", barriers),
    ("barriers: level A: nothing of an image gets hold of our program", program),
    ("endings: level A: a job outlives the process that keeps its container", outlived),
];

/// Each line is one answer; podman gives the same in the same image.
const RIGHTS: &str = r#"
exec 2>&1
rights() { grep -e ^Cap -e ^NoNewPrivs -e ^Groups -e ^Uid -e ^Gid /proc/self/status; }
id; rights
sudo -n id; sudo -n -u games id -un; sudo -n sh -c 'grep -e ^Cap -e ^NoNewPrivs -e ^Groups /proc/self/status'
su -c id; su -l -c 'pwd; id -un'
id-of-root
touch /tmp/mine && chown-by-capability 7:60 /tmp/mine && stat -c %u:%g /tmp/mine
true-by-capability && echo started
chown 7:60 /tmp/mine 2>/dev/null || echo refused
sudo -n mkdir /opt/new && sudo -n chown app /opt/new && touch /opt/new/file && stat -c %u:%g /opt/new/file
sudo -n useradd -m other && sudo -n -u other -i whoami
sudo -n sh -c 'echo 1 >/proc/sys/kernel/domainname; mount -t tmpfs none /mnt; mknod /tmp/x c 1 3' 2>/dev/null || echo refused
cp $(command -v id) /tmp/id-of-mine && chmod 4755 /tmp/id-of-mine && sudo -n /tmp/id-of-mine | cut -d' ' -f1,3
"#;

fn rights() {
    let site = site("A", "");
    for user in ["", "root", "games", "app:sudo"] {
        let extra = json!({ "image": { "executor_opts": { "docker": { "user": user } } } });
        let job = site.job(&image("sudo:latest"), extra).prepared();
        let name = image("sudo:latest");
        let user: &[&str] = if user.is_empty() { &[] } else { &["--user", user] };
        let hostname = job.run("build_script", "hostname\n").success();
        let theirs = podman(&[user, &["--hostname", hostname.trim(), &name, "bash"]].concat(), RIGHTS);
        let ours = job.run("build_script", RIGHTS);
        assert_eq!(ours.log, theirs.log, "{user:?}");
        // podman could have failed in the same way.
        assert!(
            !user.is_empty() || ours.log.contains("\nuid=0(root) gid=0(root) groups=0(root)\n"),
            "{}",
            ours.log
        );
    }
}

/// What might lead from there to the node. Nothing of it says a word but the first line.
const BARRIERS: &str = r#"
umount /proc/kcore || umount /proc/sys || umount /sys/firmware || mount -o remount,rw /proc/sys || echo kept
for file in /proc/sysrq-trigger /proc/sys/kernel/domainname; do (: >$file) && echo "wrote $file"; done
ls -d /proc/[0-9]*/root/scratch /proc/[0-9]*/cwd/scratch
for exe in /proc/[0-9]*/exe; do readlink $exe; done | grep -e meta-executor -e program -e apptainer
nsenter -m -t 1 ls /
"#;

fn barriers() {
    let site = site("A", "");
    let job = site.job(&image("sudo:latest"), json!({})).prepared();
    let script =
        format!("cat >/tmp/script <<'END'\n{BARRIERS}\nEND\nsudo -n bash /tmp/script 2>/dev/null; true\n");
    assert_eq!(job.run("build_script", &script).success(), "kept\n");
}

/// A shell of the image might be a script whose first line names `/proc/self/exe`, and so get hold of our program, which root
/// in the container owns.
fn program() {
    let site = site("A", "");
    let job = prepared(&site, "busybox:latest");
    let shell = rootfs(&site).join("bin/sh");
    fs::remove_file(&shell).expect("busybox's shell is a link");
    executable(&shell, "#!/bin/busybox ash\nexec /bin/busybox sleep 730000\n");
    let mut child = job.start("build_script", "true");
    wait_until("the shell sleeps", LIMIT, || !with_mark("sleep 730000").is_empty());
    let entering = with_mark("enter-container");
    let shown: Vec<(PathBuf, String)> = entering
        .iter()
        .map(|pid| {
            let process = PathBuf::from(format!("/proc/{pid}"));
            (
                fs::read_link(process.join("exe")).expect("the process is ours"),
                fs::read_to_string(process.join("mountinfo")).expect("the process is ours"),
            )
        })
        .collect();
    child.kill().expect("the driver is our child");
    child.wait().expect("the driver is our child");
    let (program, mounts) = shown.first().expect("a process waits for the container");
    let line = mounts.lines().find(|line| line.split(' ').nth(4) == program.to_str());
    let options = line.and_then(|line| line.split(' ').nth(5)).unwrap_or_default();
    assert!(options.split(',').any(|option| option == "ro"), "{}: {line:?}", program.display());
}

fn outlived() {
    let site = site("A", "");
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let script = "for process in /proc/[0-9]*; do grep -q 'read -r line$' $process/cmdline && kill -KILL ${process#/proc/}; done; \
        sleep 1; ls /builds >/dev/null && cat /etc/hosts >/dev/null && ls /dev/null && touch /new && exit 7";
    let ended = job.run("build_script", script);
    assert_eq!((ended.script_code.as_deref(), ended.log.as_str()), (Some("7"), "/dev/null\n"));
}
