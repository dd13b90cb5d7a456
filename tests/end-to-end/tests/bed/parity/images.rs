//! Which image a job gets, and what docker's options for it do.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use end_to_end::bed::REGISTRY;
use end_to_end::parity::Expect::{Fails, FailsAs, Passes, Says, Shows};
use end_to_end::parity::{Case, Place, Row};

use super::ONE_USER;

pub(super) const ROWS: &[Row] = &[
    Row::cases("TestDockerCommandNoRootImage", OTHER_USER).except_at_c(ONE_USER),
    Row::cases("TestDockerCommandEntrypointWithStderrOutput", TALKING_ENTRYPOINT),
    Row::play("TestDockerCommandWithAllowedImagesRun", allowed_images),
    Row::cases("TestDockerCommandMissingImage", &[MISSING_IMAGE]),
    Row::cases("TestDockerCommandMissingTag", &[MISSING_TAG]),
    Row::cases("TestDockerCommandPullingImageNoHost", NO_HOST),
    Row::cases("TestDockerImageNameFromVariable", NAME_FROM_VARIABLE),
    Row::play("TestDockerCommand_WriteToVolumeNonRootImage", volume_of_other_user).except_at_c(ONE_USER),
    Row::play("TestDockerCommandConflictingPullPolicies", pull_policies),
    Row::play("Test_ExpandingVolumes", expanded_mounts),
    Row::play("Test_ContainerOptionsExpansion", expanded_options),
    Row::cases("TestDockerCommandWithPlatform", PLATFORM),
    Row::cases("TestDockerCommandWithUser", NAMED_USER).except_at_c(ONE_USER),
    Row::cases("TestPodmanCommandBasicRun", BASIC),
    Row::cases("TestPodmanCommandWithNonRootUser", NAMED_USER).except_at_c(ONE_USER),
    Row::cases("TestPodmanCommandWithPlatformKey", PLATFORM),
    Row::play("TestDockerCommandPullRetriesTransientRegistryFailure", late_registry),
    Row::cases("TestDockerLinuxSetter", FRESH_VOLUMES).except_at_c(ONE_USER),
    Row::play("image: dpkg, useradd and chown change it", changed_image).except_at_c(ONE_USER),
    Row::play("TestDockerCommandDisableEntrypointOverwrite", entrypoint_override),
    Row::tests("TestDockerCommandWithHelperImageConfig", &["helper: stages run in the helper image"]),
    Row::never("TestDockerCommand_DNSConfig", "jobs use the node's name servers"),
];

const OTHER_USER: &[Case] = &[Case {
    job: "image: registry/user\nscript: [id -un, 'echo $HOME', touch file, 'stat -c %U file']\nafter_script: [id -u, ls]",
    expect: &[Passes, Says("app"), Says("/home/app"), Says("1234"), Says("file")],
}];

const TALKING_ENTRYPOINT: &[Case] = &[Case {
    job: r#"
image: {name: registry/busybox, entrypoint: [/bin/sh, -c, 'echo from the entrypoint >&2; exec "$@"', entrypoint]}
variables: {FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR: 'true'}
script: [echo from the script]"#,
    expect: &[Passes, Says("from the entrypoint"), Says("from the script")],
}];

fn entrypoint_override(place: &Place) {
    let job = |services: &str| {
        format!(
            "image: {{name: registry/entrypoint, entrypoint: [/bin/sh, -c, 'echo image overwritten; exec \"$@\"', x]}}\n{services}\n\
             script: ['echo \"$FROM_ENTRYPOINT\"']"
        )
    };
    place.job(&job("")).passes().says("image overwritten").hides("override disabled");
    let place = place.with_executor("disable_entrypoint_overwrite = true");
    let ran =
        place.job(&job("")).passes().shows("Entrypoint override disabled").says("set by the entrypoint");
    ran.hides("image overwritten\n");
    if place.level() != "C" {
        let services = "services: [{name: registry/noshell, entrypoint: [/httpd, -f, -p, '9'], alias: web}]";
        let ran = place.job(&job(services).replace("]']", "; wget -qO- http://web:8080/']")).passes();
        assert_eq!(ran.log.matches("Entrypoint override disabled").count(), 2, "{ran}");
        ran.hides("probably didn't start properly");
    }
}

fn allowed_images(place: &Place) {
    let place = place.with_executor(&format!("allowed_images = [\"{REGISTRY}/busy*\", \"**/debian:*\"]"));
    let job = |image: &str| {
        place.job(&format!(
            "variables: {{IMAGE_NAME: registry/{image}}}\nimage: $IMAGE_NAME\nscript: [echo ran]"
        ))
    };
    job("busybox").passes().says("ran");
    job("debian:sid").passes().says("ran");
    job("user").fails(1).shows("image is not present on list of allowed images");
}

const MISSING_IMAGE: Case = Case {
    job: "image: registry/some/non-existing/image\nscript: [echo not reached]",
    expect: &[Fails(1), Shows("unknown"), Shows("hint: ")],
};

const MISSING_TAG: Case = Case {
    job: "image: registry/busybox:missing-tag\nscript: [echo not reached]",
    expect: &[Fails(1), Shows("manifest unknown"), Shows("hint: ")],
};

/// A registry that cannot be reached may be there again for a retry: not the job's fault.
const NO_HOST: &[Case] = &[Case {
    job: "image: docker.repo.does.not.exist.invalid/foobar\nscript: [echo not reached]",
    expect: &[FailsAs("runner_system_failure"), Shows("docker.repo.does.not.exist.invalid")],
}];

const NAME_FROM_VARIABLE: &[Case] = &[Case {
    job: "variables: {CI_REGISTRY_IMAGE: registry/debian}\nimage: $CI_REGISTRY_IMAGE:sid\nscript: ['echo $CI_JOB_IMAGE', cat /etc/debian_version]",
    expect: &[Passes, Says("127.0.0.1:5000/debian:sid")],
}];

fn volume_of_other_user(place: &Place) {
    let directory = place.directory("volume");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).expect("it is ours");
    let place = place.with_executor(&format!("mount = [\"{}:/test\"]", directory.display()));
    let job =
        "image: registry/user\nscript: ['cat /test/file || echo nothing', echo kept > /test/file, id -u]";
    place.job(job).passes().says("nothing").says("1234");
    place.job(job).passes().says("kept");
}

fn pull_policies(place: &Place) {
    let check = |executor: &str, policy: &str, text: &str| {
        let place = place.with_executor(executor);
        let ran = place.job(&format!("image: {{name: registry/busybox{policy}}}\nscript: [echo ran]"));
        match text {
            "" => ran.passes(),
            text => ran.fails(1).shows(text),
        };
    };
    let invalid = "invalid pull policy for image \"127.0.0.1:5000/busybox\": pull_policy";
    check(
        "",
        ", pull_policy: if-not-present",
        &format!(
            "{invalid} ([if-not-present]) defined in GitLab pipeline config is not one of the allowed_pull_policies ([always])"
        ),
    );
    check(
        "pull_policy = \"always\"\nallowed_pull_policies = [\"if-not-present\"]",
        "",
        &format!(
            "{invalid} ([always]) defined in Runner config is not one of the allowed_pull_policies ([if-not-present])"
        ),
    );
    check(
        "allowed_pull_policies = [\"never\"]",
        "",
        &format!(
            "{invalid} ([always]) defined in Runner config (default) is not one of the allowed_pull_policies ([never])"
        ),
    );
    check(
        "allowed_pull_policies = [\"always\", \"if-not-present\"]",
        ", pull_policy: [never, if-not-present]",
        "",
    );
}

fn expanded_mounts(place: &Place) {
    let directory = place.directory("mounted");
    let mount = format!("mount = [\"{}:/data/$CUSTOM_ENV_CI_JOB_NAME\"]", directory.display());
    let place = place.with_executor(&mount);
    place.job("script: [echo left > /data/job/file]").passes();
    place.job("script: [cat /data/job/file]").passes().says("left");
}

fn expanded_options(place: &Place) {
    let place = place.with_executor("image = \"${MIRROR:127.0.0.1:5000}/debian:sid\"\ndescription = \"of $CUSTOM_ENV_CI_JOB_NAME on $SITE\"");
    let mut ran = place.pipeline("default: {tags: []}\njob: {script: [cat /etc/debian_version]}");
    ran.remove(0).passes().says("of job on bed");
}

const PLATFORM: &[Case] = &[
    Case {
        job: "image: {name: registry/busybox, docker: {platform: linux/amd64}}\nscript: [uname -m]",
        expect: &[Passes, Says("x86_64")],
    },
    Case {
        job: "image: {name: registry/busybox, docker: {platform: linux/arm64}}\nscript: [echo not reached]",
        expect: &[Fails(1), Shows("linux/arm64"), Shows("hint: ")],
    },
];

const NAMED_USER: &[Case] = &[
    Case {
        job: "image: {name: registry/user, docker: {user: root}}\nscript: [id -un, 'echo $HOME']",
        expect: &[Passes, Says("root"), Says("/root")],
    },
    Case {
        job: "image: {name: registry/debian:sid, docker: {user: www-data}}\nscript: [id -un, id -gn, touch mine]",
        expect: &[Passes, Says("www-data")],
    },
    Case {
        job: "image: {name: registry/busybox, docker: {user: '1000'}}\nscript: [id -u, id -g, touch mine]",
        expect: &[Passes, Says("1000"), Says("0")],
    },
    Case {
        job: "image: {name: registry/busybox, docker: {user: nobody-here}}\nscript: [id]",
        expect: &[Fails(1), Shows("nobody-here"), Shows("hint: ")],
    },
];

const BASIC: &[Case] = &[Case {
    job: "script: [echo Hello World]",
    expect: &[Passes, Says("Hello World"), Shows("Job succeeded")],
}];

/// A registry that comes back while the job waits for it. gitlab-runner tries to prepare three times, with 3 s between.
fn late_registry(place: &Place) {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(2));
        let socket = TcpListener::bind(("127.0.0.1", port)).expect("the port is still free");
        // Ends with the test program.
        for client in socket.incoming().flatten() {
            thread::spawn(move || forward(&client));
        }
    });
    place.job(&format!("image: 127.0.0.1:{port}/busybox\nscript: [echo ran]")).passes().says("ran");
}

fn forward(client: &TcpStream) {
    let Ok(registry) = TcpStream::connect(REGISTRY) else { return };
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &registry));
        copy(&registry, client);
    });
}

/// docker makes new volumes writable for everybody.
const FRESH_VOLUMES: &[Case] = &[Case {
    job: "image: registry/user\nscript: [echo 1 > /cache/file, echo 2 > /builds/file, 'stat -c %a /cache /builds']",
    expect: &[Passes, Says("777")],
}];

fn changed_image(place: &Place) {
    let job = "image: registry/debian:sid\nscript:\n  - dpkg --remove --force-all hostname 2>/dev/null\n  \
               - useradd --create-home somebody && ls -d /home/somebody\n\
               after_script: ['command -v hostname || echo still removed']";
    place.job(job).passes().says("/home/somebody").says("still removed");
    if place.level() == "A" {
        let job = "image: registry/debian:sid\nscript:\n  - useradd --create-home somebody && su somebody -c 'id -un; echo $HOME'\n  \
                   - chown somebody /opt && stat -c 'of %U' /opt";
        place.job(job).passes().says("somebody").says("/home/somebody").says("of somebody");
        let job = "script: [mkdir /opt, 'chown 1234:99 /opt', \"stat -c 'of %u %g' /opt\", rm /bin/vi]";
        place.job(job).passes().says("of 1234 99");
    }
}
