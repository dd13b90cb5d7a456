//! Who asks, and what he may do.

use super::call::Call;
use super::error::ApiError;
use crate::model::{Group, Job, Level, Project, Scope, State, User};

/// A user with the token that he came with.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: User,
    pub(crate) token_id: i64,
}

impl Call {
    /// The secret of a user token: `PRIVATE-TOKEN`, `Authorization: Bearer` or `private_token=`.
    pub(crate) fn user_secret(&self) -> Option<String> {
        let bearer = || self.header("authorization")?.strip_prefix("Bearer ").map(str::to_owned);
        let private = self.header("private-token").map(str::to_owned);
        private.or_else(bearer).or_else(|| self.params.text("private_token"))
    }

    /// The secret of a runner: header, or `token` in the body.
    pub(crate) fn runner_secret(&self) -> Option<String> {
        self.params.text("token").or_else(|| self.header("runner-token").map(str::to_owned))
    }

    /// The secret of a job: header, or `token` in the body.
    pub(crate) fn job_secret(&self) -> Option<String> {
        self.header("job-token").map(str::to_owned).or_else(|| self.params.text("token"))
    }

    /// The user behind the token, if the token is good and has one of `scopes` (none: any scope will do).
    pub(crate) fn caller(&self, state: &mut State, scopes: &[Scope]) -> Result<Caller, ApiError> {
        let secret = self.user_secret().ok_or_else(ApiError::unauthorized)?;
        let now = state.now();
        let token = state.tokens.values_mut().find(|token| token.secret == secret);
        let token = token.ok_or_else(ApiError::unauthorized)?;
        if token.revoked {
            return Err(ApiError::invalid_token(
                "Token was revoked. You have to re-authorize from the user.",
            ));
        }
        if token.expires_at.is_some_and(|end| end <= now) {
            return Err(ApiError::invalid_token(
                "Token is expired. You can either do re-authorization or token refresh.",
            ));
        }
        token.last_used_at = Some(now);
        if !scopes.is_empty() && !scopes.iter().any(|scope| token.scopes.contains(scope)) {
            let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
            return Err(ApiError::insufficient_scope(&names.join(" ")));
        }
        let (user_id, token_id) = (token.user_id, token.id);
        let user = state.users.get(&user_id).cloned().ok_or_else(ApiError::unauthorized)?;
        Ok(Caller { user, token_id })
    }

    /// A caller who may read the API.
    pub(crate) fn reader(&self, state: &mut State) -> Result<Caller, ApiError> {
        self.caller(state, &[Scope::Api, Scope::ReadApi])
    }

    /// A caller who may change things.
    pub(crate) fn writer(&self, state: &mut State) -> Result<Caller, ApiError> {
        self.caller(state, &[Scope::Api])
    }

    /// The project of the path, if the user may know that it exists.
    pub(crate) fn project(&self, state: &State, user: &User) -> Result<Project, ApiError> {
        let project = state.project_by_key(self.segment("id"));
        let visible = |project: &&Project| project.public || state.level_in_project(user, project).is_some();
        project.filter(visible).cloned().ok_or_else(|| ApiError::not_found("Project"))
    }

    /// The same, with at least this role.
    pub(crate) fn project_as(&self, state: &State, user: &User, level: Level) -> Result<Project, ApiError> {
        let project = self.project(state, user)?;
        if state.level_in_project(user, &project) < Some(level) {
            return Err(ApiError::forbidden());
        }
        Ok(project)
    }

    /// The group of the path, if the user may know that it exists.
    pub(crate) fn group(&self, state: &State, user: &User) -> Result<Group, ApiError> {
        let group = state.group_by_key(self.segment("id"));
        let visible = |group: &&Group| state.level_in_group(user, group.id).is_some();
        group.filter(visible).cloned().ok_or_else(|| ApiError::not_found("Group"))
    }

    /// The runner whose token came with the call, else 403.
    pub(crate) fn runner(&self, state: &State) -> Result<i64, ApiError> {
        let secret = self.runner_secret().ok_or_else(|| ApiError::parameter("token is missing"))?;
        state.runner_by_token(&secret).ok_or_else(ApiError::forbidden)
    }

    /// The job of the path, if its own token came with the call and it is being processed.
    ///
    /// Unknown ids are 403 and never 404, on purpose; a finished job says what became of it in `Job-Status`.
    pub(crate) fn processing_job(&self, state: &State) -> Result<i64, ApiError> {
        let job = state.jobs.get(&self.id("id")?).ok_or_else(ApiError::forbidden)?;
        if self.job_secret().as_deref() != Some(&job.token) {
            return Err(ApiError::forbidden());
        }
        check_processing(state, job)?;
        Ok(job.id)
    }
}

fn check_processing(state: &State, job: &Job) -> Result<(), ApiError> {
    if !state.projects.contains_key(&job.project_id) {
        return Err(ApiError::forbidden_because("Project has been deleted!"));
    }
    if job.erased_at.is_some() {
        return Err(ApiError::forbidden_because("Job has been erased!"));
    }
    if !job.is_processing() {
        let error = ApiError::forbidden_because("Job is not processing on runner");
        return Err(error.header("Job-Status", job.status.name()));
    }
    Ok(())
}
