//! What keeps jobs, images and the node apart, tried by those who would like it to give way.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::bed::image;
use end_to_end::executor::{Job, Site};
use end_to_end::processes::{LIMIT, send, wait_until, with_mark};
use serde_json::json;

use crate::LevelTest;

pub(crate) const TESTS: &[LevelTest] = &[
    ("barriers: a git of environment modules, or of the user's own, brings nothing else", git_elsewhere),
    ("barriers: helper stages change nothing of the node", read_only),
    ("barriers: a shell of the image says what it likes, and is stopped as ever", lying_shell),
    ("barriers: odd files of the image in the place of ours", odd_files),
    ("barriers: the umask of who calls us is not the job's", strict_umask),
];

fn site(level: &str) -> Site {
    Site::new(&format!("level = \"{level}\""))
}

pub(crate) fn executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("it is in a directory")).expect("the site is writable");
    fs::write(path, text).expect("the directory is ours");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("the file is ours");
}

fn git_elsewhere(level: &str) {
    let site = site(level);
    let at = site.path();
    // As on many clusters: the home directory is reached by a link, and lies beside the software.
    let home = at.join("users/ci");
    executable(&home.join(".ssh/id"), "secret\n");
    symlink("users", at.join("home")).expect("the site is writable");
    let git = at.join("software/git/bin/git");
    executable(&git, "#!/bin/sh\necho \"git of a module, $LD_LIBRARY_PATH\"\n");
    let path =
        format!("{}:/usr/local/bin:/opt/target/debug:/usr/bin:/bin", at.join("software/git/bin").display());
    let job = site
        .job(&image("busybox:latest"), json!({}))
        .with_environment("PATH", &path)
        .with_environment("HOME", &at.join("home/ci").display().to_string())
        .with_environment("LD_LIBRARY_PATH", "/apps/lib")
        .prepared();
    let script = format!(
        "git --version; ls -A {0}; touch {0}/software/git/new 2>&1 | grep -c Read-only",
        at.display()
    );
    assert_eq!(job.run("get_sources", &script).success(), "git of a module, /apps/lib\nsoftware\n1\n");
    // The system's git has the system's libraries.
    let job = site.job(&image("busybox:latest"), json!({})).with_environment("LD_LIBRARY_PATH", "/apps/lib");
    let log = job.prepared().run("get_sources", "echo \"[$LD_LIBRARY_PATH]\"; command -v git").success();
    assert_eq!(log, "[]\n/usr/bin/git\n");
}

fn read_only(level: &str) {
    let site = site(level);
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    // What the account may write to on the node, as a site's software below /opt.
    let script = "ls -d /opt/target; for i in /opt/target /usr /etc; do touch $i/new-of-a-job 2>&1; done | grep -c 'Read-only'";
    assert_eq!(job.run("get_sources", script).success(), "/opt/target\n3\n");
    assert!(!Path::new("/opt/target/new-of-a-job").exists());
}

/// The root file system of the job's image, which has been unpacked.
pub(crate) fn rootfs(site: &Site) -> PathBuf {
    site.images().first().expect("the job is prepared").join("rootfs")
}

pub(crate) fn prepared<'a>(site: &'a Site, name: &str) -> Job<'a> {
    site.job(&image(name), json!({})).prepared()
}

fn lying_shell(level: &str) {
    for (case, lie) in ["printf x", "printf 'x\\n'", "printf 'exited 0\\n'", "yes x"].iter().enumerate() {
        let site = site(level);
        let job = prepared(&site, "busybox:latest");
        let shell = rootfs(&site).join("bin/sh");
        fs::remove_file(&shell).expect("busybox's shell is a link");
        let mark = 710_000 + case + if level == "A" { 100 } else { 0 };
        executable(&shell, &format!("#!/bin/busybox ash\n{lie} >&9\nexec /bin/busybox sleep {mark}\n"));
        let mut child = job.start("build_script", "true");
        let marked = || with_mark(&format!("sleep {mark}"));
        wait_until("the shell sleeps", LIMIT, || !marked().is_empty());
        send("TERM", &format!("-{}", child.id()));
        wait_until("all processes are gone", LIMIT, || marked().is_empty());
        child.wait().expect("the driver is our child");
    }
}

fn odd_files(level: &str) {
    let site = site(level);
    let job = prepared(&site, "busybox:latest");
    let etc = rootfs(&site).join("etc");
    for name in ["hosts", "hostname", "resolv.conf"] {
        let _ = fs::remove_file(etc.join(name));
    }
    let fifo = Command::new("mkfifo").arg(etc.join("hosts")).status().expect("mkfifo starts");
    assert!(fifo.success());
    symlink("../run/systemd/resolve/stub-resolv.conf", etc.join("resolv.conf")).expect("the image is ours");
    File::create(etc.join("hostname")).expect("the image is ours");
    let log =
        job.run("build_script", "grep -c localhost /etc/hosts; cat /etc/hostname; cat /etc/resolv.conf >&2");
    let lines: Vec<&str> = log.log.lines().collect();
    assert!(log.code == 0 && lines[0] != "0" && lines[1].starts_with("runner-"), "{}", log.log);
}

fn strict_umask(level: &str) {
    let site = site(level);
    let job = site.job(&image("user:latest"), json!({}));
    let script = job.script("cat /etc/hosts /etc/hostname >/dev/null && umask && ls -ld / /etc | cut -c8-10");
    for words in [["prepare", "", ""], ["run", &script, "build_script"]] {
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let call = job.command(&words);
        let mut caller = Command::new("sh");
        caller.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(call.get_program()).args(call.get_args());
        caller.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = caller.output().expect("sh starts");
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{log}{}", String::from_utf8_lossy(&output.stderr));
        assert!(words[0] == "prepare" || log == "0022\nr-x\nr-x\n", "{log}");
    }
}
