//! The variables of a job: the server's own first, the user's after them, by rising precedence: the configuration's, those
//! of dotenv reports, the project's, the pipeline's.
//!
//! Names and order follow GitLab's list of predefined variables. The first occurrence of a key is the server's, which
//! is why a reader that wants the truth takes the first one.

use super::payload::dependencies_of;
use super::spec::Variable;
use crate::clock::iso;
use crate::model::{Job, Pipeline, Project, Runner, State};

/// Version that the stand-in claims to be.
pub(crate) const VERSION: &str = "19.4.0";
/// Revision that goes with [`VERSION`].
pub(crate) const REVISION: &str = "5a1d0001";

/// All variables of `job` as handed to `runner`.
pub(super) fn variables(state: &State, job: &Job, runner: &Runner) -> Vec<Variable> {
    let (Some(pipeline), Some(project)) =
        (state.pipelines.get(&job.pipeline_id), state.projects.get(&job.project_id))
    else {
        return Vec::new();
    };
    let mut all = job_variables(state, job, project);
    all.extend(server_variables(state));
    all.extend(project_variables(state, project));
    all.extend(pipeline_variables(state, pipeline, project, job.protected));
    all.extend(runner_variables(runner));
    all.extend(job.spec.variables.iter().cloned());
    all.extend(dependencies_of(state, job).iter().flat_map(|other| other.dotenv.iter().cloned()));
    all.extend(project.variables.iter().cloned());
    all.extend(pipeline.variables.iter().cloned());
    if !pipeline.has_repository {
        all.push(public("GIT_STRATEGY", "none"));
    }
    all
}

/// `http://gitlab-ci-token:TOKEN@host/group/project.git`.
pub(super) fn repository_url(state: &State, job: &Job, project: &Project) -> String {
    let (scheme, rest) = state.url.split_once("://").unwrap_or(("http", &state.url));
    format!("{scheme}://gitlab-ci-token:{}@{rest}/{}.git", job.token, project.full_path)
}

/// Lower case, anything but letters and digits as a dash, at most 63 characters, no dash at an end.
fn slug(text: &str) -> String {
    let dashed: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    dashed.trim_matches('-').to_owned()
}

fn public(key: &str, value: impl Into<String>) -> Variable {
    Variable::public(key, value)
}

fn job_variables(state: &State, job: &Job, project: &Project) -> Vec<Variable> {
    let mut list = vec![
        public("CI_JOB_ID", job.id.to_string()),
        public("CI_JOB_URL", format!("{}/{}/-/jobs/{}", state.url, project.full_path, job.id)),
        Variable::secret("CI_JOB_TOKEN", &job.token),
        public("CI_JOB_STARTED_AT", iso(state.now())),
    ];
    if let Some(registry) = &state.settings.registry {
        list.extend([
            public("CI_REGISTRY_USER", "gitlab-ci-token"),
            Variable::secret("CI_REGISTRY_PASSWORD", &job.token),
            public("CI_REGISTRY", registry),
            public("CI_REGISTRY_IMAGE", format!("{registry}/{}", project.full_path)),
        ]);
    }
    list.extend([
        Variable {
            masked: false,
            ..Variable::secret("CI_REPOSITORY_URL", repository_url(state, job, project))
        },
        public("CI_DEPENDENCY_PROXY_USER", "gitlab-ci-token"),
        Variable::secret("CI_DEPENDENCY_PROXY_PASSWORD", &job.token),
        public("CI_JOB_NAME", &job.spec.name),
        public("CI_JOB_NAME_SLUG", slug(&job.spec.name)),
        public("CI_JOB_GROUP_NAME", &job.spec.name),
        public("CI_JOB_STAGE", &job.spec.stage),
        public("CI_JOB_TIMEOUT", job.spec.timeout.unwrap_or(project.build_timeout).to_string()),
        public("CI_NODE_TOTAL", "1"),
    ]);
    if let Some(environment) = &job.spec.environment {
        list.push(public("CI_ENVIRONMENT_NAME", environment));
        list.push(public("CI_ENVIRONMENT_SLUG", slug(environment)));
    }
    list
}

fn server_variables(state: &State) -> Vec<Variable> {
    let (scheme, address) = state.url.split_once("://").unwrap_or(("http", &state.url));
    let default_port = if scheme == "https" { "443" } else { "80" };
    let (host, port) = address.rsplit_once(':').unwrap_or((address, default_port));
    let version: Vec<&str> = VERSION.split('.').collect();
    vec![
        public("CI", "true"),
        public("GITLAB_CI", "true"),
        public("GITLAB_FEATURES", ""),
        public("CI_SERVER", "yes"),
        public("CI_SERVER_URL", &state.url),
        public("CI_SERVER_HOST", host),
        public("CI_SERVER_PORT", port),
        public("CI_SERVER_PROTOCOL", scheme),
        public("CI_SERVER_FQDN", address),
        public("CI_SERVER_NAME", "GitLab"),
        public("CI_SERVER_VERSION", VERSION),
        public("CI_SERVER_VERSION_MAJOR", version[0]),
        public("CI_SERVER_VERSION_MINOR", version[1]),
        public("CI_SERVER_VERSION_PATCH", version[2]),
        public("CI_SERVER_REVISION", REVISION),
        public("CI_API_V4_URL", format!("{}/api/v4", state.url)),
        public("CI_API_GRAPHQL_URL", format!("{}/api/graphql", state.url)),
        public("CI_TEMPLATE_REGISTRY_HOST", "registry.gitlab.com"),
    ]
}

fn project_variables(state: &State, project: &Project) -> Vec<Variable> {
    let namespace = project.full_path.rsplit_once('/').map_or("", |(namespace, _)| namespace);
    let root = namespace.split('/').next().unwrap_or_default();
    vec![
        public("CI_PROJECT_ID", project.id.to_string()),
        public("CI_PROJECT_NAME", &project.path),
        public("CI_PROJECT_TITLE", &project.path),
        public("CI_PROJECT_DESCRIPTION", ""),
        public("CI_PROJECT_PATH", &project.full_path),
        public("CI_PROJECT_PATH_SLUG", slug(&project.full_path)),
        public("CI_PROJECT_NAMESPACE", namespace),
        public("CI_PROJECT_NAMESPACE_SLUG", slug(namespace)),
        public("CI_PROJECT_NAMESPACE_ID", project.group_id.to_string()),
        public("CI_PROJECT_ROOT_NAMESPACE", root),
        public("CI_PROJECT_URL", format!("{}/{}", state.url, project.full_path)),
        public("CI_PROJECT_VISIBILITY", if project.public { "public" } else { "private" }),
        public("CI_PROJECT_REPOSITORY_LANGUAGES", ""),
        public("CI_PROJECT_CLASSIFICATION_LABEL", ""),
        public("CI_DEFAULT_BRANCH", &project.default_branch),
        public("CI_CONFIG_PATH", ".gitlab-ci.yml"),
    ]
}

fn pipeline_variables(
    state: &State,
    pipeline: &Pipeline,
    project: &Project,
    protected: bool,
) -> Vec<Variable> {
    let commit = &pipeline.commit;
    let kind = if pipeline.tag { "CI_COMMIT_TAG" } else { "CI_COMMIT_BRANCH" };
    let description = commit.message.split_once("\n\n").map_or("", |(_, rest)| rest);
    let mut list = vec![
        public("CI_PIPELINE_ID", pipeline.id.to_string()),
        public("CI_PIPELINE_URL", format!("{}/{}/-/pipelines/{}", state.url, project.full_path, pipeline.id)),
        public("CI_PIPELINE_IID", pipeline.iid.to_string()),
        public("CI_PIPELINE_SOURCE", &pipeline.source),
        public("CI_PIPELINE_CREATED_AT", iso(pipeline.created_at)),
        public("CI_COMMIT_SHA", &commit.sha),
        public("CI_COMMIT_SHORT_SHA", commit.short_sha()),
        public("CI_COMMIT_BEFORE_SHA", &commit.before_sha),
        public("CI_COMMIT_REF_NAME", &pipeline.reference),
        public("CI_COMMIT_REF_SLUG", slug(&pipeline.reference)),
        public(kind, &pipeline.reference),
        public("CI_COMMIT_MESSAGE", &commit.message),
        public("CI_COMMIT_TITLE", commit.title()),
        public("CI_COMMIT_DESCRIPTION", description),
        public("CI_COMMIT_REF_PROTECTED", protected.to_string()),
        public("CI_COMMIT_TIMESTAMP", &commit.authored_at),
        public("CI_COMMIT_AUTHOR", format!("{} <{}>", commit.author_name, commit.author_email)),
    ];
    if let Some(user) = state.users.get(&pipeline.user_id) {
        list.extend([
            public("GITLAB_USER_ID", user.id.to_string()),
            public("GITLAB_USER_EMAIL", format!("{}@example.org", user.username)),
            public("GITLAB_USER_LOGIN", &user.username),
            public("GITLAB_USER_NAME", &user.name),
        ]);
    }
    list
}

fn runner_variables(runner: &Runner) -> Vec<Variable> {
    let quoted: Vec<String> = runner.tags.iter().map(|tag| format!("{tag:?}")).collect();
    vec![
        public("CI_RUNNER_ID", runner.id.to_string()),
        public("CI_RUNNER_DESCRIPTION", &runner.description),
        public("CI_RUNNER_TAGS", format!("[{}]", quoted.join(", "))),
    ]
}
