//! Scripts as text, and as what shells make of them.
#![expect(clippy::disallowed_methods, reason = "the scripts are run")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::build::directories;
use crate::config::Runner;
use crate::job;
use crate::joblog::{JobLog, Style};
use crate::trace::buffer::Buffer;

fn build(payload: Value, builds: &Path) -> Build {
    let runner = Runner {
        url: "http://gitlab.example".into(),
        token: "glrt-0123456789abc".into(),
        executor: "custom".into(),
        ..Runner::default()
    };
    let log = JobLog::new(Arc::new(Buffer::new(1000)), Style::default());
    let mut build = Build::new(job::parse(payload.to_string().as_bytes()).unwrap(), runner, log);
    directories::settle(&mut build, &builds.to_string_lossy(), "/cache", false).unwrap();
    build
}

fn payload(variables: Value, script: &[&str]) -> Value {
    json!({
        "id": 7, "token": "job-token", "allow_git_fetch": true,
        "job_info": {"name": "unit", "project_id": 42},
        "git_info": {"repo_url": "http://gitlab-ci-token:job-token@gitlab.example/hpc/solver.git", "ref": "main",
            "sha": "4f1c2d3e4f50", "refspecs": ["+refs/heads/main:refs/remotes/origin/main"], "depth": 20},
        "variables": variables, "steps": [{"name": "script", "script": script}, {"name": "after_script", "script": []}],
        "cache": [{"key": "k", "paths": [".cache/"], "fallback_keys": ["old"]}],
        "artifacts": [{"name": "n", "paths": ["out/"], "exclude": ["out/x"], "artifact_type": "archive",
            "artifact_format": "zip", "expire_in": "1 week"}],
    })
}

fn text(build: &Build, stage: &Stage) -> String {
    let target = Target { shell: "bash", runner_command: "gitlab-runner" };
    match generate(build, target, stage).unwrap() {
        Script::Text(text) => text,
        Script::Nothing => panic!("{stage:?} has nothing to do"),
    }
}

/// What the script evaluates, as bash reads it, without the export of variables that each stage begins with.
fn body(build: &Build, stage: &Stage) -> String {
    let text = text(build, stage);
    let line = text.lines().find(|line| line.contains("; eval ")).unwrap();
    let escaped = line.split_once("; eval ").unwrap().1.strip_suffix(") < /dev/null").unwrap();
    let output = Command::new("bash").args(["-c", &format!("printf %s {escaped}")]).output().unwrap();
    let body = String::from_utf8(output.stdout).unwrap();
    let own = |line: &&str| !(line.starts_with("export FF_") || line.starts_with("export CI_"));
    body.lines().filter(own).map(|line| format!("{}\n", line.replace('\x1b', "ESC"))).collect()
}

fn check(stage: &Stage, expected: &Expect) {
    let build = build(payload(json!([]), &["echo one", "if true\nthen echo two; fi"]), Path::new("/builds"));
    expected.assert_eq(&body(&build, stage));
}

#[test]
fn the_wrapping_survives_signals_and_odd_shells() {
    let build = build(payload(json!([]), &["true"]), Path::new("/builds"));
    expect![[r##"
        #!/usr/bin/env bash

        trap 'exit 1' TERM

        case "$(set -o)" in *"pipefail"*) set -o pipefail;; esac; set -o errexit
        set +o noclobber
        (trap 'exit 1' TERM; eval $'echo "Running on $(hostname)..."\nrm "-f" "/builds/hpc/solver.tmp/gitlab_runner_env"\nrm "-f" "/builds/hpc/solver.tmp/masking.db"\n') < /dev/null
        exit 0
    "##]]
    .assert_eq(&text(&build, &Stage::Prepare));
}

#[test]
fn a_users_script() {
    check(
        &Stage::Step("script".into()),
        &expect![[r#"
            export RUNNER_TEMP_PROJECT_DIR=/builds/hpc/solver.tmp
            export GITLAB_ENV=/builds/hpc/solver.tmp/gitlab_runner_env
            mkdir -p "/builds/hpc/solver.tmp"
            touch "/builds/hpc/solver.tmp/gitlab_runner_env"
            while read -r line; do export "$line"; done < "/builds/hpc/solver.tmp/gitlab_runner_env"
            cd /builds/hpc/solver
            echo $'\x1b[32;1m$ echo one\x1b[0;m'
            echo one
            echo $'\x1b[32;1m$ if true # collapsed multi-line command\x1b[0;m'
            if true
            then echo two; fi
        "#]],
    );
}

#[test]
fn fetching() {
    check(
        &Stage::GetSources,
        &expect![[r#"
            export RUNNER_TEMP_PROJECT_DIR=/builds/hpc/solver.tmp
            export GITLAB_ENV=/builds/hpc/solver.tmp/gitlab_runner_env
            mkdir -p "/builds/hpc/solver.tmp"
            touch "/builds/hpc/solver.tmp/gitlab_runner_env"
            while read -r line; do export "$line"; done < "/builds/hpc/solver.tmp/gitlab_runner_env"
            export GIT_TERMINAL_PROMPT=0
            export GCM_INTERACTIVE=Never
            export GIT_LFS_SKIP_SMUDGE=1
            rm "-f" "/builds/hpc/solver/.git/index.lock"
            rm "-f" "/builds/hpc/solver/.git/shallow.lock"
            rm "-f" "/builds/hpc/solver/.git/HEAD.lock"
            rm "-f" "/builds/hpc/solver/.git/hooks/post-checkout"
            rm "-f" "/builds/hpc/solver/.git/config.lock"
            if [ -d "/builds/hpc/solver/.git/refs" ]; then
              et='+' ; find /dev/null -exec true {} + 2>/dev/null || et=';' ; find "/builds/hpc/solver/.git/refs" -name "*.lock" -type f -exec rm -f {} "${et}"
            fi
            rm "-f" "/builds/hpc/solver.tmp/git-template/config"
            if [ -d "/builds/hpc/solver.tmp/git-template/hooks" ]; then
              chmod "-R" "u+rwX" "/builds/hpc/solver.tmp/git-template/hooks"
            fi
            rm "-r" "-f" "/builds/hpc/solver.tmp/git-template/hooks"
            rm "-f" "/builds/hpc/solver/.git/config"
            if [ -d "/builds/hpc/solver/.git/hooks" ]; then
              chmod "-R" "u+rwX" "/builds/hpc/solver/.git/hooks"
            fi
            rm "-r" "-f" "/builds/hpc/solver/.git/hooks"
            mkdir -p /builds/hpc/solver.tmp/git-template
            git config -f /builds/hpc/solver.tmp/git-template/config init.defaultBranch none
            git config -f /builds/hpc/solver.tmp/git-template/config fetch.recurseSubmodules false
            git config -f /builds/hpc/solver.tmp/git-template/config credential.interactive never
            git config -f /builds/hpc/solver.tmp/git-template/config gc.autoDetach false
            rm "-f" "/builds/hpc/solver.tmp/.gitlab-runner.ext.conf"
            git "config" "-f" "/builds/hpc/solver.tmp/.gitlab-runner.ext.conf" "http.extraHeader" "X-Gitaly-Correlation-ID: "
            echo $'\x1b[32;1mGitaly correlation ID: \x1b[0;m'
            git "config" "-f" "/builds/hpc/solver.tmp/.gitlab-runner.ext.conf" "transfer.bundleURI" "true"
            git "config" "--file" "/builds/hpc/solver.tmp/.gitlab-runner.ext.conf" "--replace-all" "url.http://gitlab-ci-token:job-token@gitlab.example/hpc/solver.git.insteadOf" "http://gitlab.example/hpc/solver.git" "^http://gitlab\.example/hpc/solver\.git$"
            git "config" "--file" "/builds/hpc/solver.tmp/.gitlab-runner.ext.conf" "--replace-all" "url.http://gitlab-ci-token:job-token@gitlab.example.insteadOf" "http://gitlab.example" "^http://gitlab\.example$"
            git "config" "--file" "/builds/hpc/solver.tmp/git-template/config" "--replace-all" "include.path" "/builds/hpc/solver.tmp/.gitlab-runner.ext.conf" "\.gitlab-runner\.ext\.conf$"
            export GLR_EXT_GIT_CONFIG_PATH="/builds/hpc/solver.tmp/.gitlab-runner.ext.conf"
            echo $'\x1b[32;1mFetching changes with git depth set to 20...\x1b[0;m'
            git init /builds/hpc/solver --template /builds/hpc/solver.tmp/git-template
            cd /builds/hpc/solver
            if git remote add origin $'http://gitlab.example/hpc/solver.git' >/dev/null 2>&1 ; then
              echo $'\x1b[32;1mCreated fresh repository.\x1b[0;m'
            else
              git remote set-url origin $'http://gitlab.example/hpc/solver.git'
              git "config" "--file" ".git/config" "--replace-all" "include.path" "$GLR_EXT_GIT_CONFIG_PATH" "\.gitlab-runner\.ext\.conf$"
            fi
            git -c $'http.userAgent=gitlab-runner 19.4.0 linux/amd64' fetch origin --no-recurse-submodules $'+refs/heads/main:refs/remotes/origin/main' --depth 20 --prune --quiet
            echo $'\x1b[32;1mChecking out 4f1c2d3e as detached HEAD (ref is main)...\x1b[0;m'
            git -c $'submodule.recurse=false' checkout -f -q 4f1c2d3e4f50
            git clean -ffdx
            if git lfs version >/dev/null 2>&1 ; then
              git lfs pull
              echo
            fi
            echo $'\x1b[32;1mSkipping Git submodules setup\x1b[0;m'
            echo $'url=http://gitlab.example\nusername=gitlab-ci-token' | git credential reject || true
        "#]],
    );
}

#[test]
fn caches() {
    check(
        &Stage::RestoreCache,
        &expect![[r#"
        export RUNNER_TEMP_PROJECT_DIR=/builds/hpc/solver.tmp
        export GITLAB_ENV=/builds/hpc/solver.tmp/gitlab_runner_env
        mkdir -p "/builds/hpc/solver.tmp"
        touch "/builds/hpc/solver.tmp/gitlab_runner_env"
        while read -r line; do export "$line"; done < "/builds/hpc/solver.tmp/gitlab_runner_env"
        cd /builds/hpc/solver
        if gitlab-runner --version >/dev/null 2>&1 ; then
          echo $'\x1b[32;1mChecking cache for k...\x1b[0;m'
          if gitlab-runner cache-extractor --file ../../../cache/hpc/solver/k/cache.zip --timeout 10 ; then
            echo $'\x1b[32;1mSuccessfully extracted cache\x1b[0;m'
          else
            echo $'\x1b[0;33mFailed to extract cache\x1b[0;m'
            echo $'\x1b[32;1mChecking cache for old...\x1b[0;m'
            if gitlab-runner cache-extractor --file ../../../cache/hpc/solver/old/cache.zip --timeout 10 ; then
              echo $'\x1b[32;1mSuccessfully extracted cache\x1b[0;m'
            else
              echo $'\x1b[0;33mFailed to extract cache\x1b[0;m'
            fi
          fi
        else
          echo $'\x1b[0;33mMissing gitlab-runner. Extracting cache is disabled.\x1b[0;m'
        fi
    "#]],
    );
    check(
        &Stage::ArchiveCache { success: true },
        &expect![[r#"
        export RUNNER_TEMP_PROJECT_DIR=/builds/hpc/solver.tmp
        export GITLAB_ENV=/builds/hpc/solver.tmp/gitlab_runner_env
        mkdir -p "/builds/hpc/solver.tmp"
        touch "/builds/hpc/solver.tmp/gitlab_runner_env"
        while read -r line; do export "$line"; done < "/builds/hpc/solver.tmp/gitlab_runner_env"
        cd /builds/hpc/solver
        if gitlab-runner --version >/dev/null 2>&1 ; then
          echo $'\x1b[32;1mCreating cache k...\x1b[0;m'
          cat << EOF > /builds/hpc/solver.tmp/gitlab_runner_cache_env
        CACHE_METADATA="{\"cachekey\":\"k\"}"
        EOF

          if gitlab-runner cache-archiver --file ../../../cache/hpc/solver/k/cache.zip --alternate-file ../../../cache/hpc/solver/8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a/cache.zip --timeout 10 --path .cache/ --env-file /builds/hpc/solver.tmp/gitlab_runner_cache_env ; then
            echo $'\x1b[32;1mCreated cache\x1b[0;m'
          else
            echo $'\x1b[0;33mFailed to create cache\x1b[0;m'
          fi
          rm "-f" "/builds/hpc/solver.tmp/gitlab_runner_cache_env"
        else
          echo $'\x1b[0;33mMissing gitlab-runner. Creating cache is disabled.\x1b[0;m'
        fi
    "#]],
    );
}

#[test]
fn artifacts() {
    check(
        &Stage::UploadArtifacts { success: true },
        &expect![[r#"
        export RUNNER_TEMP_PROJECT_DIR=/builds/hpc/solver.tmp
        export GITLAB_ENV=/builds/hpc/solver.tmp/gitlab_runner_env
        mkdir -p "/builds/hpc/solver.tmp"
        touch "/builds/hpc/solver.tmp/gitlab_runner_env"
        while read -r line; do export "$line"; done < "/builds/hpc/solver.tmp/gitlab_runner_env"
        cd /builds/hpc/solver
        if gitlab-runner --version >/dev/null 2>&1 ; then
          echo $'\x1b[32;1mUploading artifacts...\x1b[0;m'
          gitlab-runner artifacts-uploader --url $'http://gitlab.example' --token job-token --id 7 --timeout 1h0m0s --response-header-timeout 10m0s --path out/ --exclude out/x --name n --expire-in $'1 week' --artifact-format zip --artifact-type archive
        else
          echo $'\x1b[0;33mMissing gitlab-runner. Uploading artifacts is disabled.\x1b[0;m'
        fi
    "#]],
    );
}

#[test]
fn stages_without_anything_to_do() {
    let build = build(payload(json!([]), &["true"]), Path::new("/builds"));
    let target = Target { shell: "bash", runner_command: "gitlab-runner" };
    for stage in [
        Stage::AfterScript,
        Stage::DownloadArtifacts,
        Stage::ArchiveCache { success: false },
        Stage::UploadArtifacts { success: false },
        Stage::Step("release".into()),
    ] {
        assert_eq!(generate(&build, target, &stage), Ok(Script::Nothing), "{stage:?}");
    }
}

/// Shells that are here, with whether they understand ANSI-C quoting.
fn shells() -> Vec<(&'static str, &'static [&'static str], bool)> {
    let known: [(&str, &[&str], bool); 3] =
        [("bash", &[], true), ("busybox", &["sh"], true), ("dash", &[], false)];
    let is_here =
        |program: &str| Command::new(program).arg("-c").arg("true").stderr(Stdio::null()).output().is_ok();
    known.into_iter().filter(|(program, _, _)| is_here(program)).collect()
}

/// Exit code and output of a script on a shell's stdin, as containers get it.
fn feed(program: &str, arguments: &[&str], script: &str) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn scripts_do_in_each_shell_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    for (program, arguments, ansi_c) in shells() {
        let variables = json!([
            {"key": "QUOTES", "value": "a'b\"c\\d\te\nü $X `y` !", "raw": true},
            {"key": "CERTIFICATE", "value": "line one\nline two\n", "file": true},
            {"key": "FF_POSIXLY_CORRECT_ESCAPES", "value": (!ansi_c).to_string()},
        ]);
        let script = [
            "printf '<%s>' \"$QUOTES\"; cat \"$CERTIFICATE\"; read nothing || echo no stdin",
            "echo FROM=env >> $GITLAB_ENV",
            "false",
            "echo not reached",
        ];
        let build = build(payload(variables, &script), &folder.path().join(program));
        std::fs::create_dir_all(&build.directories.project).unwrap();
        let (code, output) = feed(program, arguments, &text(&build, &Stage::Step("script".into())));
        assert_eq!(code, Some(1), "{program}");
        assert!(
            output.contains("<a'b\"c\\d\te\nü $X `y` !>line one\nline two\nno stdin\n"),
            "{program}: {output}"
        );
        assert!(!output.contains("\nnot reached"), "{program}: {output}");

        let temporary = build.directories.temporary();
        let env = std::fs::read_to_string(format!("{temporary}/gitlab_runner_env")).unwrap();
        assert_eq!(env, "FROM=env\n", "{program}");
        let (code, _) = feed(program, arguments, &text(&build, &Stage::CleanupFileVariables));
        assert_eq!(code, Some(0), "{program}");
        assert!(!Path::new(&format!("{temporary}/CERTIFICATE")).exists(), "{program}");
    }
}
