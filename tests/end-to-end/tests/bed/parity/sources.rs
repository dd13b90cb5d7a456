//! `get_sources`: checkout, submodules, hooks, and what is cleaned up behind a job.

use std::fs;

use end_to_end::parity::{Place, Row};

pub(super) const ROWS: &[Row] = &[
    Row::play("TestDockerCommandOutput", output),
    Row::play("TestDockerCommandUsingCustomClonePath", clone_path),
    Row::play("TestDockerCommandWithGitSSLCAInfo", private_authority),
    Row::play("TestChownAndUmaskUsage", modes),
    Row::play("TestCleanupProjectGitClone", cleanup_of_clone),
    Row::play("TestCleanupProjectGitFetch", cleanup_of_fetch),
    Row::play("TestCleanupProjectGitSubmoduleNormal", cleanup_of_submodules),
    Row::play("TestCleanupProjectGitSubmoduleRecursive", cleanup_of_nested_submodules),
    Row::play("TestGitCredHelper", credential_helper),
    Row::play("sources: GIT_STRATEGY", strategies),
    Row::play("sources: GIT_DEPTH, GIT_CHECKOUT, GIT_CLEAN_FLAGS", flags),
    Row::play("sources: submodules with relative URLs", submodules),
    Row::play("sources: GIT_SUBMODULE_PATHS, _DEPTH and _UPDATE_FLAGS", submodule_flags),
    Row::play("sources: hooks of the job and of the runner", hooks),
    Row::play("sources: GET_SOURCES_ATTEMPTS", attempts),
    Row::play("sources: git LFS", large_files),
    Row::never("TestPwshGitCredHelper", "scripts are made for bash or sh"),
];

/// A project with one file.
fn small(place: &Place) -> Place {
    let place = place.with_repository();
    place.commit("echo text > file");
    place
}

/// A project with a submodule `middle` in it and `lower` in that. All are branches of one private repository, named by a
/// relative URL, so that the job's token is needed for each.
fn nested(place: &Place) -> Place {
    let place = place.with_repository();
    fill_with_submodules(&place);
    place
}

fn fill_with_submodules(place: &Place) {
    place.commit(
        r#"
URL=../$(basename "$REMOTE")
begin() { git checkout -q --orphan "$1"; git rm -rqf --ignore-unmatch .; rm -rf middle lower; }
submodule() {
    printf '[submodule "%s"]\n\tpath = %s\n\turl = %s\n' "$1" "$1" "$URL" > .gitmodules
    mkdir "$1"; git add .gitmodules; git update-index --add --cacheinfo "160000,$2,$1"
}
keep() { git add "$1.txt"; git commit -q -m "$1"; git push -q "$REMOTE" "HEAD:$1"; }
begin lower; echo 1 > lower.txt; keep lower; LOWER=$(git rev-parse HEAD)
begin middle; submodule lower "$LOWER"; echo 2 > middle.txt; keep middle; MIDDLE=$(git rev-parse HEAD)
begin main; submodule middle "$MIDDLE"; echo 3 > file"#,
    );
}

fn output(place: &Place) {
    let place = small(place);
    let place_of_git = format!("/builds/{}/.git/", place.project());
    place
        .job_of_repository("script: [cat file, 'echo $CI_PROJECT_DIR', pwd]")
        .passes()
        .shows("Initialized empty Git repository in /")
        .shows(&place_of_git)
        .says("text")
        .shows(&format!("/builds/{}\n", place.project()));
}

fn clone_path(place: &Place) {
    let place = small(place);
    let job = |path: &str| format!("variables: {{GIT_CLONE_PATH: {path}}}\nscript: [pwd, cat file]");
    place
        .job_of_repository(&job("$CI_BUILDS_DIR/go/src/repo"))
        .fails_as("runner_configuration_error")
        .shows("setting GIT_CLONE_PATH is not allowed");
    let place = place.with_runner("[runners.custom_build_dir]\nenabled = true");
    place
        .job_of_repository(&job("$CI_BUILDS_DIR/go/src/repo"))
        .passes()
        .shows("/builds/go/src/repo\n")
        .says("text");
    place.job_of_repository(&job("$CI_BUILDS_DIR")).passes().says("text");
    for outside in ["/unknown/repo", "$CI_BUILDS_DIR/../etc"] {
        place
            .job_of_repository(&job(outside))
            .fails_as("runner_configuration_error")
            .shows("has to be within");
    }
}

fn private_authority(place: &Place) {
    let place = place.with_tls();
    fill_with_submodules(&place);
    let file = place.directory("authority").join("ca.pem");
    fs::write(&file, place.gitlab().certificate().expect("TLS is on")).expect("the site is writable");
    let place = place.with_runner(&format!("tls-ca-file = \"{}\"", file.display()));
    place
        .job_of_repository(
            "variables: {GIT_SUBMODULE_STRATEGY: recursive}\nartifacts: {paths: [file]}\n\
             script: [cat middle/lower/lower.txt, head -n 1 $CI_SERVER_TLS_CA_FILE]",
        )
        .passes()
        .says("1")
        .says("-----BEGIN CERTIFICATE-----")
        .shows("201 Created");
}

/// docker's helper leaves everything open to everybody, so that an image's user can write to it.
fn modes(place: &Place) {
    let place = place.with_repository();
    place.commit(
        "mkdir directory; echo 1 > directory/file; echo 2 > plain; echo 3 > program; chmod 755 program",
    );
    let look = "script:\n  - stat -c '%a %n' directory plain program\n  - 'echo \"owner: $(stat -c %u plain)\"'\n  \
                - echo changed > plain; mkdir new; touch directory/new";
    for image in ["busybox", "user"] {
        let ran = place.job_of_repository(&format!("image: registry/{image}\n{look}"));
        let ran = ran.passes().says("777 directory").says("666 plain").says("777 program");
        // Where there is only one id, everything is the image's user's.
        match (place.level(), image) {
            ("A", _) | ("B", "busybox") => drop(ran.says("owner: 0")),
            ("B", _) => drop(ran.says("owner: 1234")),
            _ => {}
        }
    }
    let flag = "variables: {FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR: 'true'}";
    for (image, owner) in [("busybox", 0), ("user", 1234)] {
        let ran =
            place.job_of_repository(&format!("image: registry/{image}\n{flag}\n{look}\nafter_script: [ls]"));
        let ran = ran.passes().shows("Not using umask - FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR is set!");
        let ran = ran.says("755 directory").says("644 plain").says("755 program");
        if place.level() != "C" {
            let announced = ran.log.matches("Changing ownership of files at \"/builds/").count();
            assert_eq!(announced, if (place.level(), image) == ("A", "user") { 2 } else { 0 }, "{ran}");
            ran.says(&format!("owner: {owner}"));
        }
    }
}

/// What a job says that cleans up behind itself. It leaves an untracked file in each of `directories`.
fn cleaned(place: &Place, variables: &str, directories: &[&str]) {
    let touch: Vec<String> =
        directories.iter().map(|directory| format!("touch {directory}/untracked")).collect();
    let job = format!(
        "variables: {{FF_ENABLE_JOB_CLEANUP: 'true', {variables}}}\nscript:\n  - {}",
        touch.join("\n  - ")
    );
    let ran = place
        .job_of_repository(&job)
        .passes()
        .shows("Cleaning up project directory and file based variables");
    let removed = ran.log.matches("Removing untracked").count();
    let expected = if variables.contains("clone") { 0 } else { directories.len() };
    assert_eq!(removed, expected, "{ran}");
}

fn cleanup_of_clone(place: &Place) {
    cleaned(&small(place), "GIT_STRATEGY: clone", &["."]);
}

fn cleanup_of_fetch(place: &Place) {
    cleaned(&small(place), "GIT_STRATEGY: fetch", &["."]);
}

fn cleanup_of_submodules(place: &Place) {
    cleaned(&nested(place), "GIT_STRATEGY: fetch, GIT_SUBMODULE_STRATEGY: normal", &[".", "middle"]);
}

fn cleanup_of_nested_submodules(place: &Place) {
    let variables = "GIT_STRATEGY: fetch, GIT_SUBMODULE_STRATEGY: recursive";
    cleaned(&nested(place), variables, &[".", "middle", "middle/lower"]);
}

fn credential_helper(place: &Place) {
    let place = nested(place);
    let job = "variables: {FF_GIT_URLS_WITHOUT_TOKENS: 'true', GIT_SUBMODULE_STRATEGY: recursive, GIT_SUBMODULE_FORCE_HTTPS: '1'}\n\
               script:\n  - cat middle/lower/lower.txt\n  - if grep -r glcbt- .git; then exit 5; fi";
    place.job_of_repository(job).passes().says("1");
}

fn strategies(place: &Place) {
    let place = small(place);
    let job = |strategy: &str, script: &str| {
        place.job_of_repository(&format!("variables: {{GIT_STRATEGY: {strategy}}}\nscript: [{script}]"))
    };
    job("fetch", "cat file").passes().says("text");
    job("clone", "cat file").passes().says("text");
    job("none", "ls, pwd")
        .passes()
        .shows("Skipping Git repository setup")
        .shows(&format!("/builds/{}\n", place.project()));
    job("empty", "ls -A | wc -l, pwd")
        .passes()
        .says("0")
        .shows(&format!("/builds/{}-empty\n", place.project()));
}

fn flags(place: &Place) {
    let place = place.with_repository();
    place.commit(
        "echo 1 > file; git add file; git commit -qm 1; echo 2 > file; git commit -qam 2; echo 3 > file",
    );
    let look = "image: registry/debian:sid\nscript: [\"find .git -name shallow\", cat file]";
    let depth =
        |depth: &str| place.job_of_repository(&format!("variables: {{GIT_DEPTH: '{depth}'}}\n{look}"));
    depth("1").passes().shows("Fetching changes with git depth set to 1").says(".git/shallow").says("3");
    depth("0").passes().hides(".git/shallow").says("3");
    place
        .job_of_repository("variables: {GIT_CHECKOUT: 'false'}\nscript: [\"ls -A\"]")
        .passes()
        .shows("Skipping Git checkout")
        .says(".git");
    let clean = |flags: &str| {
        let hook = "hooks: {pre_get_sources_script: ['mkdir -p \"$CI_PROJECT_DIR\"', 'cd \"$CI_PROJECT_DIR\"', touch kept other]}";
        place.job_of_repository(&format!(
            "{hook}\nvariables: {{GIT_CLEAN_FLAGS: {flags}}}\nscript: [ls, cat file]"
        ))
    };
    clean("-ffdx").passes().says("3").shows("Removing other").shows("Removing kept");
    clean("-ffdx -e kept").passes().says("kept").shows("Removing other");
    clean("none").passes().says("kept").says("other");
}

fn submodules(place: &Place) {
    let place = nested(place);
    let job = |strategy: &str| {
        place.job_of_repository(&format!(
            "variables: {{GIT_SUBMODULE_STRATEGY: {strategy}}}\nscript: [\"ls file middle middle/lower || true\"]"
        ))
    };
    job("none").passes().hides("middle.txt");
    job("normal").passes().says("middle.txt").hides("lower.txt");
    job("recursive").passes().says("middle.txt").says("lower.txt");
}

fn submodule_flags(place: &Place) {
    let place = nested(place);
    let job = |variables: &str| {
        place.job_of_repository(&format!("variables: {{GIT_SUBMODULE_STRATEGY: recursive, {variables}}}\nscript: [\"ls middle middle/lower || true\"]"))
    };
    job("GIT_SUBMODULE_PATHS: ':(exclude)middle'").passes().hides("middle.txt");
    job("GIT_SUBMODULE_PATHS: middle, GIT_SUBMODULE_DEPTH: 1, GIT_SUBMODULE_UPDATE_FLAGS: '--jobs 2'")
        .passes()
        .shows("with git depth set to 1")
        .says("lower.txt");
}

fn hooks(place: &Place) {
    let place = small(place);
    let place = place.with_runner("pre_get_sources_script = \"echo from runner before\"\npost_get_sources_script = \"echo from runner behind; cat file\"");
    let job = "hooks: {pre_get_sources_script: [echo from job before, git --version]}\nscript: [\"true\"]";
    place
        .job_of_repository(job)
        .passes()
        .says("from job before")
        .shows("git version")
        .says("from runner before")
        .says("from runner behind")
        .says("text");
}

fn attempts(place: &Place) {
    let place = small(place);
    let job = |attempts: u32| {
        format!(
            "hooks: {{pre_get_sources_script: ['[ -e $CI_BUILDS_DIR/again ] || {{ touch $CI_BUILDS_DIR/again; exit 1; }}']}}\n\
             variables: {{GET_SOURCES_ATTEMPTS: {attempts}, FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY: 'false'}}\nscript: [cat file]"
        )
    };
    place.job_of_repository(&job(1)).fails(1);
    place.job_of_repository(&job(2)).passes().shows("WARNING: Retrying...").says("text");
}

fn large_files(place: &Place) {
    let place = place.with_repository();
    place.commit(
        "git lfs install --local --skip-repo >/dev/null; git lfs track '*.bin' >/dev/null; echo large > data.bin; git add -A\n\
         mkdir -p \"$REMOTE/lfs\"; cp -r .git/lfs/objects \"$REMOTE/lfs/\"",
    );
    place.job_of_repository("script: [cat data.bin]").passes().says("large");
    let pointer = "variables: {GIT_LFS_SKIP_SMUDGE: '1'}\nscript: [cat data.bin]";
    place.job_of_repository(pointer).passes().shows("oid sha256:");
}
