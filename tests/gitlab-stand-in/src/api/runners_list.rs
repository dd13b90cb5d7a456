//! The four lists of runners. None of them shows tags, note or contact time.

use serde_json::Value;

use super::call::{Answer, Call};
use super::entities;
use super::error::ApiError;
use super::paging::paged;
use super::runners::may_manage;
use crate::matching::serves_project;
use crate::model::{Level, Runner, RunnerStatus, RunnerType, State};

/// `GET /runners`: those of the groups that the caller owns and the projects that he administers.
pub(super) async fn mine(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    list(&call, &state, |runner| {
        runner.kind != RunnerType::Instance && may_manage(&state, &caller.user, runner)
    })
}

pub(super) async fn all(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    if !caller.user.admin {
        return Err(ApiError::forbidden());
    }
    list(&call, &state, |_| true)
}

/// `GET /projects/:id/runners`: with those of ancestor groups and of the instance.
pub(super) async fn of_project(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let project = call.project_as(&state, &caller.user, Level::Maintainer)?;
    list(&call, &state, |runner| serves_project(&state, runner, project.id))
}

/// `GET /groups/:id/runners`: with those of ancestors and of the instance.
pub(super) async fn of_group(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let group = call.group(&state, &caller.user)?;
    if state.level_in_group(&caller.user, group.id) < Some(Level::Owner) {
        return Err(ApiError::forbidden());
    }
    let above: Vec<i64> = state.group_with_ancestors(group.id).iter().map(|group| group.id).collect();
    list(&call, &state, |runner| match runner.kind {
        RunnerType::Instance => true,
        RunnerType::Group => runner.group_id.is_some_and(|id| above.contains(&id)),
        RunnerType::Project => false,
    })
}

fn list(call: &Call, state: &State, belongs: impl Fn(&Runner) -> bool) -> Answer {
    let wanted = Filter::read(call)?;
    let now = state.now();
    let chosen =
        state.runners.values().rev().filter(|runner| belongs(runner) && wanted.accepts(state, runner));
    let items: Vec<Value> = chosen.map(|runner| entities::runner_item(runner, now, state)).collect();
    paged(call, state, items)
}

/// The filters that all lists share.
struct Filter {
    kind: Option<String>,
    status: Option<String>,
    paused: Option<bool>,
    tags: Vec<String>,
    version_prefix: Option<String>,
}

impl Filter {
    fn read(call: &Call) -> Result<Self, ApiError> {
        let params = &call.params;
        let version_prefix = params.text("version_prefix");
        let starts_well =
            |text: &String| text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '.');
        if version_prefix.as_ref().is_some_and(|text| !starts_well(text)) {
            return Err(ApiError::parameter("version_prefix is invalid"));
        }
        let statuses = ["online", "offline", "stale", "never_contacted", "active", "paused"];
        let old = params.choice("scope", &["active", "paused", "online", "offline", "specific", "shared"])?;
        Ok(Self {
            kind: params.choice("type", &["instance_type", "group_type", "project_type"])?,
            status: params.choice("status", &statuses)?.or(old),
            paused: params.boolean("paused")?,
            tags: params.comma_list("tag_list").unwrap_or_default(),
            version_prefix,
        })
    }

    fn accepts(&self, state: &State, runner: &Runner) -> bool {
        let actual = runner.stored_status(state.now());
        let status_fits = match self.status.as_deref() {
            None => true,
            Some("online") => actual == RunnerStatus::Online,
            // Stale runners are offline too.
            Some("offline") => {
                actual == RunnerStatus::Offline
                    || (actual == RunnerStatus::Stale && runner.contacted_at.is_some())
            }
            Some("stale") => actual == RunnerStatus::Stale,
            Some("never_contacted") => runner.contacted_at.is_none(),
            Some("active") => !runner.paused,
            Some("paused") => runner.paused,
            Some("shared") => runner.kind == RunnerType::Instance,
            Some(_) => runner.kind == RunnerType::Project,
        };
        let version_fits = self.version_prefix.as_ref().is_none_or(|prefix| {
            runner
                .managers
                .values()
                .any(|m| m.info["version"].as_str().is_some_and(|v| v.starts_with(prefix)))
        });
        status_fits
            && version_fits
            && self.kind.as_deref().is_none_or(|kind| runner.kind.name() == kind)
            && self.paused.is_none_or(|paused| runner.paused == paused)
            && self.tags.iter().all(|tag| runner.tags.contains(tag))
    }
}
