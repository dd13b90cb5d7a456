//! Waits until the services answer. One that does not is worth a warning with its log, never a failure: the job may not need
//! it (gitlab-runner: `executors/docker/services.go`, `waitForServiceContainer`).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::follow::Follower;
use super::{StartedService, only_user, output};
use crate::failure::StageFailure;
use crate::holder::Holder;
use crate::holder::protocol::{Answer, Refusal};
use crate::log_line;
use crate::pod::stop_signals::StopSignals;

/// A service of which no port is known gets this time, as with docker: jobs rely on it, and one that ends in it says why in its
/// log.
const HEAD_START: Duration = Duration::from_secs(10);

/// A service that was asked for says soon that it runs, or why not. One whose shell says neither is let be.
const LONGEST_START: Duration = Duration::from_secs(10);

const YELLOW: &str = "\x1b[0;33m";
const RESET: &str = "\x1b[0;m";

/// Waits until all `services` run, and at most `limit` until they answer, or not at all without a limit. `signals` gets the requests to stop.
pub(crate) fn wait(
    services: &[StartedService],
    holder: &mut Holder,
    limit: Option<Duration>,
    signals: &StopSignals,
    follower: &mut Follower,
) -> Result<(), StageFailure> {
    if services.is_empty() {
        return Ok(());
    }
    if let Some(limit) = limit {
        log_line(&format!(
            "Waiting for services to be up and running (timeout {} seconds)...",
            limit.as_secs()
        ));
    }
    let start = Instant::now();
    let mut open: Vec<&StartedService> = services.iter().collect();
    let mut running = BTreeSet::new();
    loop {
        follower.print_new();
        let elapsed = start.elapsed();
        let limit_of = |service: &StartedService| {
            let limit = match limit {
                Some(limit) if !service.ports.is_empty() => limit,
                Some(limit) => limit.min(HEAD_START),
                None => Duration::ZERO,
            };
            if running.contains(&service.index) { limit } else { limit.max(LONGEST_START) }
        };
        open.retain(|service| {
            let is_over = elapsed >= limit_of(service);
            if is_over && limit.is_some() {
                warn(service, &too_late(service));
            }
            !is_over
        });
        let Some(next) = open.iter().map(|service| limit_of(service)).min() else { return Ok(()) };
        let pause = (next - elapsed).min(Duration::from_millis(200));
        let answer = holder.answer(pause, signals).map_err(|error| StageFailure::system(&error))?;
        if let Some(by) = signals.request() {
            return Err(StageFailure::stopped(by));
        }
        let Some(answer) = answer else { continue };
        match answer {
            Answer::Started { index } => drop(running.insert(index)),
            Answer::Ready { index } => open.retain(|service| service.index != index),
            Answer::Ended { index, code } => {
                let ended = open.extract_if(.., |service| service.index == index);
                for service in ended.filter(|_| limit.is_some()) {
                    warn(service, &format!("service \"{}\" ended with exit code {code}", service.container));
                }
            }
            Answer::Refused { index, reason } => return Err(refused(services, index, reason)),
            Answer::Failed { message } => {
                return Err(StageFailure::system_with_hint(message, "retry the job"));
            }
            Answer::Unshared | Answer::Keeper { .. } | Answer::Up { .. } => {}
        }
    }
}

fn too_late(service: &StartedService) -> String {
    let StartedService { container, address, ports, .. } = service;
    if ports.is_empty() {
        return format!("service \"{container}\" has no exposed ports");
    }
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!(
        "service \"{container}-wait-for-service\" timeout\n\nHealth check container logs:\nwaiting for TCP connection to {address} on [{}]...",
        list.join(" ")
    )
}

fn warn(service: &StartedService, error: &str) {
    let log = output::beginning(&service.log);
    let hint = only_user::hint(service, &log).map(|hint| format!("\n{hint}")).unwrap_or_default();
    log_line(&block(&service.container, &format!("{error}{hint}"), &log));
}

/// docker's text, which users search for.
fn block(container: &str, error: &str, log: &str) -> String {
    format!(
        "\n{YELLOW}*** WARNING:{RESET} Service {container} probably didn't start properly.\n\n\
         Health check error:\n{error}\n\n\
         Service container logs:\n{log}\n\n\
         {YELLOW}*********{RESET}\n"
    )
}

fn refused(services: &[StartedService], index: usize, reason: Refusal) -> StageFailure {
    let (name, place) = services
        .iter()
        .find(|service| service.index == index)
        .map_or(("?", "the configuration"), |service| (&service.image, service.named_by.place()));
    match reason {
        Refusal::PortTaken(port) => StageFailure::system_with_hint(
            format!(
                "cannot start service \"{name}\": another process of this node listens on port {port}, and the job shares the node's network"
            ),
            "ask the administrator to install pasta (package passt) on the nodes, so that each job has a network of its own; or ask for a whole node",
        ),
        Refusal::NoCommand => StageFailure::job(
            format!("the service \"{name}\" has no command that can be executed"),
            format!("correct its `entrypoint` and `command` in {place}"),
        ),
        Refusal::Other(message) => StageFailure::system_with_hint(
            format!("cannot start service \"{name}\": {message}"),
            "retry the job; if it happens again, the node is at fault",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::named_by::NamedBy;

    #[test]
    fn the_warning_is_dockers() {
        let service = StartedService {
            index: 0,
            container: "runner-x-postgres-0".to_owned(),
            image: "postgres".to_owned(),
            named_by: NamedBy::JobService,
            host_names: Vec::new(),
            address: Ipv4Addr::new(198, 18, 0, 2),
            ports: vec![5432, 80],
            log: "/does/not/exist".into(),
            is_only_root: true,
        };
        expect_test::expect![[r#"

            [0;33m*** WARNING:[0;m Service runner-x-postgres-0 probably didn't start properly.

            Health check error:
            service "runner-x-postgres-0-wait-for-service" timeout

            Health check container logs:
            waiting for TCP connection to 198.18.0.2 on [5432 80]...

            Service container logs:
            2026-01-01T00:00:00.000000000Z no disk

            [0;33m*********[0;m
        "#]]
        .assert_eq(&block(&service.container, &too_late(&service), "2026-01-01T00:00:00.000000000Z no disk"));
        assert!(only_user::hint(&service, "setpriv: setresuid failed: Operation not permitted").is_some());
        assert!(only_user::hint(&service, "chown: /data: Invalid argument").is_some());
        assert_eq!(only_user::hint(&service, "no disk"), None);
        let can_change = StartedService { is_only_root: false, ..service };
        assert_eq!(only_user::hint(&can_change, "Operation not permitted"), None);
    }
}
