//! Where the logins for registries come from (gitlab-runner: `helpers/docker/auth/auth.go`).

use std::fs;

use crate::context::Context;
use crate::image::credentials::Credentials;
use crate::job::Job;
use crate::job_variables;

/// docker's order: the variable, the account's own file, the job's payload.
pub(super) fn collect(context: &Context, job: &Job) -> Credentials {
    let mut credentials = Credentials::default();
    add_variable(&mut credentials, context, job);
    add_own_file(&mut credentials, context);
    for login in job.credentials.iter().filter(|login| login.kind == "registry") {
        let source = "job payload (GitLab Registry)";
        credentials.add(&login.url, login.username.clone(), login.password.clone(), source);
    }
    credentials
}

/// The content of the variable, whether it is a file variable or not; the job's beats the runner's.
fn add_variable(credentials: &mut Credentials, context: &Context, job: &Job) {
    const NAME: &str = "DOCKER_AUTH_CONFIG";
    let environment = &context.environment;
    let variable = job_variables::value(NAME, job, environment)
        .or_else(|| environment.variables.get(NAME).map(String::as_str));
    if let Some(text) = variable.filter(|text| !text.is_empty()) {
        credentials.add_docker_config(text, "$DOCKER_AUTH_CONFIG");
    }
}

/// The first of the account's two files that can be opened.
fn add_own_file(credentials: &mut Credentials, context: &Context) {
    let Some(home) = &context.environment.home else { return };
    for (name, is_old) in [(".docker/config.json", false), (".dockercfg", true)] {
        let path = home.join(name);
        let source = path.display().to_string();
        match fs::read_to_string(&path) {
            Ok(text) if is_old => return credentials.add_old_docker_config(&text, &source),
            Ok(text) => return credentials.add_docker_config(&text, &source),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => credentials.add_bad_source(&source, &error.to_string()),
        }
    }
}
