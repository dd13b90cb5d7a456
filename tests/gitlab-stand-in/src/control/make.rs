//! Makes what the control API asks for.

use serde_json::{Value, json};

use super::specs::{
    NewJob, NewMember, NewPipeline, NewProject, NewRunner, NewToken, NewUser, Seed, TokenChange,
};
use crate::clock::seconds;
use crate::git::{self, GitError, create_repository};
use crate::model::{
    Commit, Group, Member, Namespace, PersonalToken, Project, Runner, RunnerType, Scope, State, User,
};
use crate::pipeline::{
    Config, ConfigError, Draft, Node, Variable, create_pipeline, parse_config, single_job,
};

/// Why a control call is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("there is no {kind} `{name}`")]
    Unknown { kind: &'static str, name: String },
    #[error("there is a {kind} `{name}` already")]
    Taken { kind: &'static str, name: String },
    #[error("`{path}` is no project path: it has no group")]
    NoGroup { path: String },
    #[error("a token needs one of user, project and group")]
    TokenOwner,
    #[error("settings: {0}")]
    Settings(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Git(#[from] GitError),
}

fn unknown(kind: &'static str, name: &str) -> ControlError {
    ControlError::Unknown { kind, name: name.to_owned() }
}

/// Makes everything of a seed file.
pub(crate) fn plant(state: &mut State, seed: &Seed) -> Result<(), ControlError> {
    change_settings(state, &seed.settings)?;
    seed.users.iter().try_for_each(|user| add_user(state, user).map(drop))?;
    seed.projects.iter().try_for_each(|project| add_project(state, project).map(drop))?;
    seed.members.iter().try_for_each(|member| add_member(state, member))?;
    seed.tokens.iter().try_for_each(|token| add_token(state, token).map(drop))?;
    seed.runners.iter().try_for_each(|runner| add_runner(state, runner).map(drop))?;
    seed.jobs.iter().try_for_each(|job| enqueue_job(state, job).map(drop))?;
    seed.pipelines.iter().try_for_each(|pipeline| start_pipeline(state, pipeline).map(drop))
}

/// Returns the user's id.
pub(crate) fn add_user(state: &mut State, new: &NewUser) -> Result<i64, ControlError> {
    if state.users.values().any(|user| user.username == new.username) {
        return Err(ControlError::Taken { kind: "user", name: new.username.clone() });
    }
    Ok(insert_user(state, &new.username, new.admin, false))
}

fn insert_user(state: &mut State, username: &str, admin: bool, bot: bool) -> i64 {
    let (id, created_at) = (state.next_id(), state.now());
    let (username, name) = (username.to_owned(), username.to_owned());
    state.users.insert(id, User { id, username, name, admin, bot, created_at });
    id
}

/// Makes the project, its groups and, if wanted, its repository; returns the project's id.
pub(crate) fn add_project(state: &mut State, new: &NewProject) -> Result<i64, ControlError> {
    if state.project_by_key(&new.path).is_some() {
        return Err(ControlError::Taken { kind: "project", name: new.path.clone() });
    }
    let (namespace, path) =
        new.path.rsplit_once('/').ok_or_else(|| ControlError::NoGroup { path: new.path.clone() })?;
    let group_id = ensure_group(state, namespace);
    let (id, created_at) = (state.next_id(), state.now());
    let project = Project {
        id,
        group_id,
        path: path.to_owned(),
        full_path: new.path.clone(),
        default_branch: new.default_branch.clone(),
        protected_refs: new.protected_refs.clone().unwrap_or_else(|| vec![new.default_branch.clone()]),
        public: new.public,
        instance_runners_enabled: new.instance_runners_enabled,
        group_runners_enabled: new.group_runners_enabled,
        builds_enabled: new.builds_enabled,
        artifacts_enabled: new.artifacts_enabled,
        build_timeout: new.build_timeout,
        variables: new.variables.clone(),
        created_at,
    };
    if new.repository {
        create_repository(&state.repository(&project), &new.default_branch)?;
    }
    state.projects.insert(id, project);
    Ok(id)
}

fn ensure_group(state: &mut State, full_path: &str) -> i64 {
    if let Some(group) = state.groups.values().find(|group| group.full_path == full_path) {
        return group.id;
    }
    let parent_id = full_path.rsplit_once('/').map(|(parent, _)| ensure_group(state, parent));
    let id = state.next_id();
    state.groups.insert(id, Group { id, full_path: full_path.to_owned(), parent_id });
    id
}

fn namespace(state: &State, path: &str) -> Result<Namespace, ControlError> {
    let project = state.project_by_key(path).map(|project| Namespace::Project(project.id));
    let group = || state.group_by_key(path).map(|group| Namespace::Group(group.id));
    project.or_else(group).ok_or_else(|| unknown("project or group", path))
}

pub(crate) fn add_member(state: &mut State, new: &NewMember) -> Result<(), ControlError> {
    let namespace = namespace(state, &new.path)?;
    let user = state.users.values().find(|user| user.username == new.user);
    let user_id = user.ok_or_else(|| unknown("user", &new.user))?.id;
    state.members.push(Member { user_id, namespace, level: new.role });
    Ok(())
}

/// Returns the secret.
pub(crate) fn add_token(state: &mut State, new: &NewToken) -> Result<String, ControlError> {
    let user_id = match (&new.user, new.project.as_ref().or(new.group.as_ref())) {
        (Some(name), None) => {
            let user = state.users.values().find(|user| user.username == *name);
            user.ok_or_else(|| unknown("user", name))?.id
        }
        (None, Some(path)) => {
            let namespace = namespace(state, path)?;
            let (kind, id) = match namespace {
                Namespace::Group(id) => ("group", id),
                Namespace::Project(id) => ("project", id),
            };
            let name = format!("{kind}_{id}_bot_{}", state.users.len());
            let user_id = insert_user(state, &name, false, true);
            state.members.push(Member { user_id, namespace, level: new.role });
            user_id
        }
        _ => return Err(ControlError::TokenOwner),
    };
    let (id, created_at) = (state.next_id(), state.now());
    let secret = new.secret.clone().unwrap_or_else(|| state.secrets.make("glpat-"));
    let token = PersonalToken {
        id,
        name: format!("token {id}"),
        secret: secret.clone(),
        user_id,
        scopes: new.scopes.clone(),
        created_at,
        expires_at: new.expires_in.map(|count| created_at + seconds(count)),
        last_used_at: None,
        revoked: false,
    };
    state.tokens.insert(id, token);
    Ok(secret)
}

/// Revokes a token or sets when it expires.
pub(crate) fn change_token(state: &mut State, change: &TokenChange) -> Result<(), ControlError> {
    let now = state.now();
    let token = state.tokens.values_mut().find(|token| token.secret == change.secret);
    let token = token.ok_or_else(|| unknown("token", "..."))?;
    token.revoked |= change.revoke;
    if let Some(count) = change.expires_in {
        token.expires_at = Some(now + seconds(count));
    }
    Ok(())
}

/// Returns id and token.
pub(crate) fn add_runner(state: &mut State, new: &NewRunner) -> Result<Value, ControlError> {
    let owner = new.path.as_ref().map(|path| namespace(state, path)).transpose()?;
    let (kind, group_id, project_ids) = match owner {
        None => (RunnerType::Instance, None, Vec::new()),
        Some(Namespace::Group(id)) => (RunnerType::Group, Some(id), Vec::new()),
        Some(Namespace::Project(id)) => (RunnerType::Project, None, vec![id]),
    };
    let prefix = if new.legacy { "" } else { kind.token_prefix() };
    let token = new.token.clone().unwrap_or_else(|| state.secrets.make(prefix));
    let mut runner = Runner::new(state.next_id(), kind, token.clone(), state.now());
    runner.group_id = group_id;
    runner.project_ids = project_ids;
    runner.tags.clone_from(&new.tags);
    runner.run_untagged = new.run_untagged;
    runner.protected_only = new.protected;
    let id = runner.id;
    state.runners.insert(id, runner);
    Ok(json!({ "id": id, "token": token }))
}

/// Returns the job's id.
pub(crate) fn enqueue_job(state: &mut State, new: &NewJob) -> Result<i64, ControlError> {
    let config = single_job(&new.name, &Node::from(&new.job))?;
    let pipeline = start(state, &new.project, &new.r#ref, config, Vec::new(), None)?;
    let job = state.jobs_of(pipeline).next().map(|job| job.id);
    job.ok_or_else(|| unknown("job", &new.name))
}

/// Returns the pipeline's id.
pub(crate) fn start_pipeline(state: &mut State, new: &NewPipeline) -> Result<i64, ControlError> {
    let config = parse_config(&new.yaml)?;
    let head = new.repository.then(|| head(state, &new.project, &new.r#ref)).transpose()?;
    start(state, &new.project, &new.r#ref, config, new.variables.clone(), head)
}

/// The commit that a branch or tag of a project's repository points to, and whether it is a tag.
fn head(state: &State, project: &str, reference: &str) -> Result<(Commit, bool), ControlError> {
    let project = state.project_by_key(project).ok_or_else(|| unknown("project", project))?;
    let found = git::resolve(&state.repository(project), reference)?;
    found.ok_or_else(|| unknown("ref", reference))
}

fn start(
    state: &mut State,
    project: &str,
    reference: &str,
    config: Config,
    variables: Vec<Variable>,
    head: Option<(Commit, bool)>,
) -> Result<i64, ControlError> {
    let project = state.project_by_key(project).ok_or_else(|| unknown("project", project))?;
    let (project_id, repository) = (project.id, state.repository(project));
    let root = state.users.values().find(|user| user.admin).map_or(0, |user| user.id);
    let id = state.next_id();
    let has_repository = head.is_some();
    if let Some((commit, _)) = &head {
        git::keep_for_pipeline(&repository, id, &commit.sha)?;
    }
    let (commit, tag) = head.unwrap_or_else(|| (Commit::made_up(state.now()), false));
    let draft = Draft {
        id,
        project_id,
        user_id: root,
        reference: reference.to_owned(),
        tag,
        commit,
        source: "api".to_owned(),
        variables,
        has_repository,
        config,
    };
    create_pipeline(state, draft);
    Ok(id)
}

/// Replaces the settings that `changes` names.
pub(crate) fn change_settings(state: &mut State, changes: &Value) -> Result<(), ControlError> {
    let failed = |error: serde_json::Error| ControlError::Settings(error.to_string());
    let mut all = serde_json::to_value(&state.settings).map_err(failed)?;
    for (key, value) in changes.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    state.settings = serde_json::from_value(all).map_err(failed)?;
    Ok(())
}

/// The administrator that every stand-in begins with; returns his token.
pub(crate) fn add_root(state: &mut State) -> String {
    let user_id = insert_user(state, "root", true, false);
    let (id, created_at, secret) = (state.next_id(), state.now(), state.secrets.make("glpat-"));
    let token = PersonalToken {
        id,
        name: "root".to_owned(),
        secret: secret.clone(),
        user_id,
        scopes: vec![Scope::Api, Scope::ReadRepository, Scope::WriteRepository],
        created_at,
        expires_at: None,
        last_used_at: None,
        revoked: false,
    };
    state.tokens.insert(id, token);
    secret
}
