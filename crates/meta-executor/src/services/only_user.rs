//! Where the node gives a job one user only (isolation level B): a service cannot begin as root and become another user, as
//! the entry points of most databases do. They have nothing to change where they begin as that user.

use super::StartedService;
use super::plan::PlannedService;
use crate::image::user;
use crate::log_line;
use crate::state::PreparedImage;

/// Lets `image` run as the user that it would become, unless the job names one. Says so in the job log.
pub(crate) fn choose(service: &PlannedService<'_>, image: &mut PreparedImage, volumes: &[String]) {
    if image.user.uid != 0 || !service.image.docker_options().user.is_empty() {
        return;
    }
    let passwd = user::passwd(&image.rootfs);
    let Some(name) = user::of_service(service.name.last_part(), volumes, &passwd) else { return };
    if let Some(user) = user::resolve(name, &image.rootfs) {
        log_line(&format!(
            "Service {} runs as {name} from its start: here it cannot change its user (isolation level B)",
            service.name.shown()
        ));
        image.user = user;
    }
}

/// What to do about a service that did not start, if `log`, what it wrote, says that it is this.
pub(crate) fn hint(service: &StartedService, log: &str) -> Option<&'static str> {
    // Another id is refused or, for chown(2) and setuid(2), no id at all.
    let log = log.to_lowercase();
    let is_refused = ["operation not permitted", "invalid argument"].iter().any(|words| log.contains(words));
    (service.is_only_root && is_refused).then_some(
        "hint: this node gives a service one user only (isolation level B); name the one that it becomes: `docker: {user: NAME}`",
    )
}
