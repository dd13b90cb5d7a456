//! Rows about Docker itself: its daemon, its objects, its network.

use end_to_end::parity::Row;

const DAEMON: &str = "there is no Docker daemon";
const NESTED: &str = "no Docker inside jobs";

pub(super) const ROWS: &[Row] = &[
    Row::never("TestDockerCommandOwnershipOverflow", "nothing asks an image's `id` for an owner"),
    Row::never("TestDockerPrivilegedServiceAccessingBuildsFolder", NESTED),
    Row::never("TestDocker1_8Compatibility to TestDocker1_13Compatibility", NESTED),
    Row::never("TestDockerCommandWithDoingPruneAndAfterScript", DAEMON),
    Row::never("TestDockerCommandRunAttempts", DAEMON),
    Row::never("Test_FF_USE_INIT_WITH_DOCKER_EXECUTOR", "every container has an init of ours"),
    Row::never("TestPidMode", "every job has its own process ids"),
    Row::never("Test_ServiceLabels", DAEMON),
    Row::never("Test_ServiceVolumeMounts", "services have no devices of their own"),
    Row::never(
        "TestDockerCommand_MacAddressConfig",
        "jobs have no network device of their own on the site's network",
    ),
    Row::never("TestDockerLogOptions", DAEMON),
    Row::never("Test_StepsIntegration", "gitlab-runner gives `run:` to its own executors only"),
    Row::never("TestDockerTLSConnection", DAEMON),
    Row::never("TestInteractiveTerminal", "gitlab-runner gives its web terminal to its own executors only"),
    Row::never("TestCreateNetworkLabels", DAEMON),
    Row::never("TestCreateVolumesLabels, TestCreateVolumesDriverOpts", DAEMON),
];
