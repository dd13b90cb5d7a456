//! What a script sees.

use std::io::Write;
use std::process::{Command, Stdio};

use end_to_end::bed::image;
use end_to_end::executor::{BUILD_FAILURE, SYSTEM_FAILURE, Site};
use end_to_end::processes::{LIMIT, wait_until, with_mark};
use serde_json::json;

use crate::LevelTest;

pub(crate) const TESTS: &[LevelTest] = &[
    ("inside: exit codes reach gitlab-runner", exit_codes),
    ("inside: what goes to stdout and to stderr keeps its order", order),
    ("inside: helper stages need nothing in the image", helper),
    ("inside: no host variables, no home, no tokens", nothing_of_the_host),
    ("inside: the pod's own processes lead nowhere", own_processes),
    ("inside: a helper stage without gitlab-runner is refused", no_runner),
    ("inside: a git of environment modules, or of the user's own, brings nothing else", git_elsewhere),
    ("inside: entrypoint and its override", entrypoint),
    ("inside: the entrypoint has the job's variables, and nobody else sees them", variables),
    ("inside: no such entrypoint", no_entrypoint),
    ("inside: entrypoints do what they do under podman", entrypoints),
    ("inside: users are found as podman finds them", users),
    ("inside: capabilities, kernel files and devices as podman has them", surroundings),
    ("inside: nothing that the caller left open", descriptors),
    ("inside: user, home and files of the image", user),
    ("inside: working directory and environment of the image", environment),
    ("inside: root, writable everywhere, kept until after_script", writable),
    ("inside: the writable layer is not written out after each stage", volatile),
    ("inside: allocation variables pass, others do not", pass_env),
    ("inside: mounts of files and directories, also on devices and through links of the image", mounts),
    ("inside: a mount of what is not there fails before the job", missing_mount),
    ("inside: GPU flags on a node without one are silent", gpu_flags),
    ("inside: project caches are kept apart", caches),
    ("inside: no path is made from a job's odd variable", odd_paths),
    ("inside: checkouts are writable for every user", shared_builds),
];

fn site(level: &str, more: &str) -> Site {
    Site::new(&format!("level = \"{level}\"\n{more}"))
}

fn exit_codes(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    for stage in ["build_script", "after_script", "get_sources"] {
        for code in [1, 42, 255] {
            let ended = job.run(stage, &format!("exit {code}"));
            assert_eq!(
                (ended.code, ended.script_code),
                (BUILD_FAILURE, Some(code.to_string())),
                "{stage}: {}",
                ended.log
            );
        }
        let ended = job.run(stage, "kill -KILL $$");
        assert_eq!(
            (ended.code, ended.script_code),
            (BUILD_FAILURE, Some("137".to_owned())),
            "{stage}: {}",
            ended.log
        );
        let ended = job.run(stage, "exit 0");
        assert_eq!(
            (ended.code, ended.script_code),
            (0, None),
            "a stale code would be reported for the next failure"
        );
    }
}

fn order(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    for stage in ["build_script", "get_sources"] {
        let log = job.run(stage, "set -x; echo one; echo two >&2; echo three").success();
        assert_eq!(log, "+ echo one\none\n+ echo two\ntwo\n+ echo three\nthree\n", "{stage}");
    }
}

fn helper(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    let log = job
        .run(
            "get_sources",
            "git init -q /builds/p && git --version && umask && echo $HOME && cat /proc/1/comm",
        )
        .success();
    assert!(log.starts_with("git version"), "{log}");
    // `ps` shows process 1 by this name.
    assert!(log.ends_with("\n0000\n/root\nmeta-executor\n"), "{log}");
    let log = job.run("build_script", "ls -d /builds/p/.git; command -v git || echo no git").success();
    assert_eq!(log, "/builds/p/.git\nno git\n");
}

fn nothing_of_the_host(level: &str) {
    let site = site(level, "");
    let job = site
        .job(&image("debian:sid"), json!({ "variables": [{ "key": "CI_BUILDS_DIR", "value": "/etc" }] }))
        .with_environment("HOST_SECRET", "do-not-show")
        .with_environment("CUSTOM_ENV_CI_BUILDS_DIR", "/etc")
        .prepared();
    for stage in ["build_script", "get_sources"] {
        let log = job.run(stage, "env; ls -A /home /scratch /root 2>/dev/null; echo end").success();
        assert!(
            !log.contains("do-not-show") && !log.contains("APPTAINER") && !log.contains("SINGULARITY"),
            "{log}"
        );
        let site = site.path().display().to_string();
        assert!(!log.contains("/home/ci") && !log.contains(&site), "{log}");
    }
    let names = job.run("build_script", "env | cut -d= -f1 | sort | tr '\\n' ' '").success();
    // The job's own variable, as docker gives it to the container; no path is made from it.
    assert_eq!(names, "CI_BUILDS_DIR HOME HOSTNAME PATH PWD SHLVL _ ");
}

/// The init and Apptainer have the host's root, which /proc would show to whoever may trace them.
fn own_processes(level: &str) {
    let site = site(level, "");
    for name in ["debian:sid", "user:latest"] {
        let job = site.job(&image(name), json!({})).prepared();
        for stage in ["build_script", "get_sources"] {
            let script = "for pid in /proc/[0-9]*; do ls -A $pid/root/home $pid/root/scratch $pid/cwd/home 2>/dev/null; done; \
                cat /proc/1/environ 2>/dev/null; umount -a 2>/dev/null; ls /home /scratch 2>/dev/null; grep CapEff /proc/self/status; true";
            let log = job.run(stage, script).success();
            let own = site.path().file_name().expect("a site has a name").to_string_lossy().into_owned();
            assert!(
                !log.contains("plain") && !log.contains(&own) && log.contains("CapEff:\t00000000"),
                "{log}"
            );
        }
    }
}

fn no_runner(level: &str) {
    let site = site(level, "");
    // gitlab-runner would skip caches and artifacts, and call that a success.
    let job = site.job(&image("busybox:latest"), json!({})).with_environment("PATH", "/usr/bin:/bin");
    job.prepare().failed(SYSTEM_FAILURE, "cannot find `gitlab-runner`");
    // Where it is not in PATH, the one that called us will do.
    let shell = site.path().join("gitlab-runner-19");
    std::fs::copy("/bin/sh", &shell).expect("the site is writable");
    let path = job.script("ls -l $(command -v gitlab-runner) | wc -l");
    let calls = [job.command(&["prepare"]), job.command(&["run", &path, "get_sources"])];
    for call in calls {
        let mut caller = Command::new(&shell);
        caller.args(["-c", "\"$@\"; exit $?", "sh"]).arg(call.get_program()).args(call.get_args());
        caller.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = caller.output().expect("sh starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn git_elsewhere(level: &str) {
    let site = site(level, "");
    let bin = site.path().join("software/git/bin");
    std::fs::create_dir_all(&bin).expect("the site is writable");
    let git = bin.join("git");
    std::fs::write(&git, "#!/bin/sh\necho \"git of a module, $LD_LIBRARY_PATH\"\n")
        .expect("the directory is new");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&git, mode).expect("the file is ours");
    let path = format!("{}:/usr/local/bin:/opt/target/debug:/usr/bin:/bin", bin.display());
    let job = site.job(&image("busybox:latest"), json!({})).with_environment("PATH", &path);
    let job = job.with_environment("LD_LIBRARY_PATH", "/apps/lib").prepared();
    let log = job.run("get_sources", &format!("git --version; ls -A {}", site.path().display())).success();
    assert_eq!(log, "git of a module, /apps/lib\nsoftware\n");
    // The system's git has the system's libraries.
    let job = site.job(&image("busybox:latest"), json!({})).with_environment("LD_LIBRARY_PATH", "/apps/lib");
    let log = job.prepared().run("get_sources", "echo \"[$LD_LIBRARY_PATH]\"; command -v git").success();
    assert_eq!(log, "[]\n/usr/bin/git\n");
}

fn entrypoint(level: &str) {
    let site = site(level, "");
    let run = |extra| {
        site.job(&image("entrypoint:latest"), extra)
            .prepared()
            .run("build_script", "echo \"$FROM_ENTRYPOINT\"")
    };
    assert_eq!(run(json!({})).success(), "entrypoint-marker\nset by the entrypoint\n");
    assert_eq!(run(json!({ "image": { "entrypoint": [""] } })).success(), "\n");
    let own = json!({ "image": { "entrypoint": ["/bin/sh", "-c", "export FROM_ENTRYPOINT=mine; exec \"$@\"", "x"] } });
    assert_eq!(run(own).success(), "mine\n");
    let failing = run(json!({ "image": { "entrypoint": ["/bin/sh", "-c", "exit 3"] } }));
    assert_eq!((failing.code, failing.script_code.as_deref()), (BUILD_FAILURE, Some("3")));
}

fn variables(level: &str) {
    let site = site(level, "");
    // Odd characters, a name that bash keeps for itself, and more than a page of text.
    let odd = "it's $HOME\n\t`id` \\ \"ü\"";
    let long = "long-".repeat(20_000);
    let job = site
        .job(
            &image("busybox:latest"),
            json!({
                "image": { "entrypoint": ["/bin/sh", "-c", "printf '%s|' \"$ODD\" \"$CERT\" \"$CI_DISPOSABLE_ENVIRONMENT\" ${#LONG}; exec \"$@\"", "x"] },
                "variables": [{ "key": "CERT", "value": "text", "file": true }],
            }),
        )
        .with_environment("CUSTOM_ENV_ODD", odd)
        .with_environment("CUSTOM_ENV_CERT", "text")
        .with_environment("CUSTOM_ENV_LONG", &long)
        .with_environment("CUSTOM_ENV_UID", "7")
        .with_environment("CUSTOM_ENV_CI_SHARED_ENVIRONMENT", "true")
        .with_environment("CUSTOM_ENV_RUNNER_TEMP_PROJECT_DIR", "/builds/p.tmp")
        .with_environment("CUSTOM_ENV_SECRET", "hush-hush-42")
        .prepared();
    let log = job.run("build_script", "echo; echo $SECRET").success();
    assert_eq!(log, format!("{odd}|/builds/p.tmp/CERT|true|100000|\nhush-hush-42\n"));
    let mut running = job.start("build_script", "touch /builds/runs; sleep 60");
    wait_until("the script runs", LIMIT, || !with_mark("sleep 60").is_empty());
    let seen = with_mark("hush-hush-42");
    running.kill().expect("the driver is our child");
    running.wait().expect("the driver is our child");
    assert_eq!(seen, Vec::<u32>::new(), "a value is in an argument");
}

fn no_entrypoint(level: &str) {
    let site = site(level, "");
    let run = |entrypoint| {
        let job = site.job(&image("busybox:latest"), json!({ "image": { "entrypoint": entrypoint } }));
        job.prepared().run("build_script", "true")
    };
    // docker: runner_system_failure.
    run(json!(["/nope", "x"])).failed(SYSTEM_FAILURE, "the image has no entrypoint `/nope`");
    run(json!(["/etc/passwd"])).failed(SYSTEM_FAILURE, "the image has no entrypoint `/etc/passwd`");
    let ended = run(json!(["/bin/sh", "-c", "echo not a shell >&2; exit 127"]));
    assert_eq!((ended.code, ended.script_code.as_deref()), (BUILD_FAILURE, Some("127")), "{}", ended.log);
}

fn entrypoints(level: &str) {
    let site = site(level, "");
    let find_shell = "for shell in /bin/bash /bin/sh; do if [ -x $shell ]; then exec $shell; fi; done";
    for entrypoint in [
        r#"["/bin/sh","-c"]"#,
        r#"["/bin/sh"]"#,
        r#"["/bin/cat"]"#,
        r#"["/bin/true"]"#,
        r#"["/bin/sh","-c","exit 9"]"#,
        r#"["sh","-c","echo error >&2; exec \"$@\"","x"]"#,
        r#"["env","A=it's  $HOME"]"#,
        r#"["/bin/sh","-c","read line; echo got $line; exec \"$@\"","x"]"#,
    ] {
        let script = "echo \"$A\"; pwd; exit 5\n";
        let words: serde_json::Value = serde_json::from_str(entrypoint).expect("the table has JSON");
        let job = site.job(&image("busybox:latest"), json!({ "image": { "entrypoint": words } })).prepared();
        let ours = job.run("build_script", script);
        let theirs =
            podman(&["--entrypoint", entrypoint, &image("busybox:latest"), "sh", "-c", find_shell], script);
        let code = ours.script_code.unwrap_or_else(|| "0".to_owned());
        assert_eq!((sorted(&ours.log), code), (sorted(&theirs.log), theirs.code.to_string()), "{entrypoint}");
    }
}

/// The lines of a log, without the order of stdout and stderr, which podman does not keep.
fn sorted(log: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    lines
}

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

/// What podman makes of the same.
struct Podman {
    log: String,
    code: i32,
}

fn podman(words: &[&str], script: &str) -> Podman {
    let mut podman = Command::new("podman");
    podman.args(["run", "--rm", "--interactive", "--quiet", "--pull=newer"]).args(words);
    podman.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = podman.spawn().expect("podman starts");
    // An entrypoint need not read its input.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(script.as_bytes());
    let output = child.wait_with_output().expect("podman ends");
    let log =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Podman { log, code: output.status.code().unwrap_or(-1) }
}

fn descriptors(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    for stage in ["build_script", "get_sources"] {
        let path = job.script("for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true");
        let run = job.command(&["run", &path, stage]);
        // The caller leaves descriptor 7 open.
        let mut caller = Command::new("sh");
        caller.args(["-c", "exec 7</etc/passwd; \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
        caller.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = caller.output().expect("sh starts");
        let log = String::from_utf8_lossy(&output.stdout);
        // bash keeps its script at 255.
        let open: Vec<&str> = log.lines().filter(|&number| number != "255").collect();
        assert_eq!(open, ["0", "1", "2"], "{stage}");
    }
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

fn pass_env(level: &str) {
    let run = |more: &str, script: &str| {
        let site = site(level, more);
        let mut job = site.job(&image("busybox:latest"), json!({}));
        for (name, value) in [
            ("SLURM_JOB_ID", "77"),
            ("CUDA_VISIBLE_DEVICES", "0,1"),
            ("PMI_RANK", "3"),
            ("PMIX_ID", "a b"),
            ("OTHER", "no"),
        ] {
            job = job.with_environment(name, value);
        }
        job.prepared().run("build_script", script).success()
    };
    let show = "echo \"$SLURM_JOB_ID|$CUDA_VISIBLE_DEVICES|$PMI_RANK|$PMIX_ID|$OTHER|\"";
    assert_eq!(run("", show), "77|0,1||||\n");
    assert_eq!(run("pass_env = [\"PMI*\"]", show), "||3|a b||\n");
}

fn mounts(level: &str) {
    let outside = tempfile::TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let at = outside.path().display();
    std::fs::create_dir(outside.path().join("data")).expect("the directory is new");
    for name in ["data/file", "license"] {
        std::fs::write(outside.path().join(name), format!("{name}\n")).expect("the directory is new");
    }
    // /bin and /var/run are links in Debian's image.
    let mounts = [
        format!("{at}/data:/data"),
        format!("{at}/data:/deep/er/ro:ro"),
        format!("{at}/license:/opt/site/license:ro"),
        format!("{at}/license:/bin/license"),
        format!("{at}/data:/var/run/data"),
        format!("{at}/data:/dev/fake"),
        format!("{at}/data:/with, comma"),
    ];
    let site = site(level, &format!("mount = {mounts:?}"));
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let script = "cat /data/file /deep/er/ro/file /opt/site/license /usr/bin/license /run/data/file /dev/fake/file '/with, comma/file'\n\
        echo made > /data/made; (: > /deep/er/ro/no) 2>/dev/null || echo read-only; (: >> /opt/site/license) 2>/dev/null || echo read-only";
    let log = job.run("build_script", script).success();
    let expected =
        "data/file\ndata/file\nlicense\nlicense\ndata/file\ndata/file\ndata/file\nread-only\nread-only\n";
    assert_eq!(log, expected);
    assert!(outside.path().join("data/made").exists());
    // A job that puts a link in the place of the directory above leads nobody out of the image.
    let evil = format!("mv /deep /old; ln -s {at} /deep");
    job.run("build_script", &evil).success();
    job.run("after_script", "true").failed(SYSTEM_FAILURE, "/deep/er/ro");
    let names: Vec<_> = std::fs::read_dir(outside.path())
        .expect("it is there")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn missing_mount(level: &str) {
    let site = site(level, "mount = [\"/scratch/nothing-here:/data\"]");
    let ended = site.job(&image("busybox:latest"), json!({})).prepare();
    ended.failed(
        SYSTEM_FAILURE,
        "`/scratch/nothing-here`, which `mount` in `[executor]` names, is not on node",
    );
}

fn gpu_flags(level: &str) {
    let site = site(level, "gpu_nvidia = true\ngpu_amd = \"${GPU:true}\"");
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    assert_eq!(job.run("build_script", "echo done").success(), "done\n");
}

fn caches(level: &str) {
    let site = site(level, "");
    let run = |project: u64, protected: bool, script: &str| {
        let extra = json!({ "job_info": { "project_id": project }, "git_info": { "protected": protected } });
        site.job(&image("busybox:latest"), extra).prepared().run("build_script", script).log
    };
    run(1, false, "echo one > /cache/file");
    assert_eq!(run(1, false, "cat /cache/file"), "one\n");
    assert_eq!(run(2, false, "ls /cache"), "");
    assert_eq!(run(1, true, "ls /cache"), "");
}

fn odd_paths(level: &str) {
    let site = site(level, "image_tmp_dir = \"/scratch/tmp-$CUSTOM_ENV_CI_COMMIT_REF_NAME\"");
    let prepare = |name: &str| {
        let variables = json!({ "variables": [{ "key": "CI_COMMIT_REF_NAME", "value": name }] });
        site.job(&image("busybox:latest"), variables).prepare()
    };
    prepare("../../etc").failed(SYSTEM_FAILURE, "would leave its directory");
    assert!(!std::path::Path::new("/scratch/tmp-..").exists());
}

fn shared_builds(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("user:latest"), json!({})).prepared();
    job.run("get_sources", "mkdir -p /builds/group/project && touch /builds/group/project/file").success();
    job.run("build_script", "cd /builds/group/project && echo x > file && mkdir out && touch out/result")
        .success();
    assert_eq!(job.run("upload_artifacts_on_success", "ls /builds/group/project/out").success(), "result\n");
}
