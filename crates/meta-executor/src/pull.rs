//! From a job's image name to an unpacked image, by the pull policies, with docker's log lines.

use std::fs;

use globset::GlobBuilder;
use meta_core::executor_settings::PullPolicy;

use crate::context::Context;
use crate::failure::{StageFailure, chain};
use crate::image::credentials::Credentials;
use crate::image::policy;
use crate::image::reference::{Reference, Version};
use crate::image::registry::{RegistryError, RegistrySettings, Repository};
use crate::image::store::{NameRecord, Store, StoreError, StoredImage};
use crate::job::{Image, Job};
use crate::log_line;
use crate::pod::spec::Mapping;

/// The job's image, pulled if its policy says so.
pub(crate) fn image(context: &Context, job: &Job, mapping: Mapping) -> Result<StoredImage, StageFailure> {
    let name = image_name(context, job)?;
    named(context, job, &job.image, name, mapping)
}

/// The image `name`, pulled as `wanted` (the job's image or a service of it) and the configuration say.
fn named(
    context: &Context,
    job: &Job,
    wanted: &Image,
    name: &str,
    mapping: Mapping,
) -> Result<StoredImage, StageFailure> {
    let reference = Reference::parse(name).map_err(|error| {
        StageFailure::job(error.to_string(), format!("correct the image name `{name}` in .gitlab-ci.yml"))
    })?;
    let settings = &context.settings;
    let policies =
        policy::effective(name, &wanted.pull_policy, &settings.pull_policy, &settings.allowed_pull_policies)
            .map_err(|text| {
                StageFailure::job(
                    text,
                    "remove `pull_policy:` from the job, or ask the runner's administrator",
                )
            })?;
    log_line(&format!("Using effective pull policy of [{}] for container {name}", policy::join(&policies)));
    let request = Request::new(context, job, wanted, name, &reference, mapping)?;
    request.try_policies(&policies)
}

/// The name that the job or the configuration gives, if it is allowed.
fn image_name<'a>(context: &'a Context, job: &'a Job) -> Result<&'a str, StageFailure> {
    if job.image.name.is_empty() {
        return context.settings.image.as_deref().inspect(|_| log_line("Using default image")).ok_or_else(|| {
            StageFailure::job(
                "this job names no image and the runner has no default",
                "write `image: NAME` in .gitlab-ci.yml, or ask the administrator for `image` in `[executor]`",
            )
        });
    }
    let name = job.image.name.as_str();
    let allowed = &context.settings.allowed_images;
    let matches = |glob: &String| {
        GlobBuilder::new(glob)
            .literal_separator(true)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(name))
    };
    if allowed.is_empty() || context.settings.image.as_deref() == Some(name) || allowed.iter().any(matches) {
        return Ok(name);
    }
    let list: String = allowed.iter().map(|glob| format!("\n- {glob}")).collect();
    Err(StageFailure::job(
        format!("the \"{name}\" image is not present on list of allowed images:{list}"),
        "use an image that matches, or ask the administrator to change `allowed_images` in `[executor]`",
    ))
}

/// One image of one job.
struct Request<'a> {
    name: &'a str,
    reference: &'a Reference,
    platform: String,
    project: u64,
    store: Store,
    credentials: Credentials,
    registry: RegistrySettings,
}

impl<'a> Request<'a> {
    fn new(
        context: &Context,
        job: &Job,
        wanted: &Image,
        name: &'a str,
        reference: &'a Reference,
        mapping: Mapping,
    ) -> Result<Self, StageFailure> {
        let settings = &context.settings;
        let node_dir = &context.paths.node_dir;
        let ca = match &settings.registry_ca_file {
            None => None,
            Some(path) => Some(fs::read_to_string(path).map_err(|error| {
                StageFailure::system_with_hint(
                    format!("cannot read `{}`: {error}", path.display()),
                    "correct `registry_ca_file` in `[executor]`",
                )
            })?),
        };
        let credentials = collect_credentials(context, job);
        for warning in &credentials.warnings {
            log_line(&format!("WARNING: {warning}"));
        }
        Ok(Self {
            name,
            reference,
            platform: platform(&wanted.docker_options().platform),
            project: job.job_info.project_id,
            store: Store {
                images: settings.image_dir.clone().unwrap_or_else(|| node_dir.join("images")),
                temporary: settings.image_tmp_dir.clone().unwrap_or_else(|| node_dir.join("tmp")),
                mapping,
            },
            credentials,
            registry: RegistrySettings { insecure: settings.insecure_registries.clone(), ca },
        })
    }

    fn try_policies(&self, policies: &[PullPolicy]) -> Result<StoredImage, StageFailure> {
        let mut failure = None;
        for (index, policy) in policies.iter().enumerate() {
            if index > 0 {
                log_line(&format!("Attempt #{}: Trying \"{}\" pull policy", index + 1, policy.as_str()));
            }
            match self.try_policy(*policy) {
                Ok(image) => {
                    log_line(&self.found_line(&image));
                    return Ok(image);
                }
                Err(error) => {
                    let policy = policy.as_str();
                    log_line(&format!(
                        "WARNING: Failed to pull image with policy \"{policy}\": {}",
                        error.text()
                    ));
                    failure = Some(error);
                }
            }
        }
        Err(self.stage_failure(policies, failure.unwrap_or(PullError::NotHere)))
    }

    fn try_policy(&self, policy: PullPolicy) -> Result<StoredImage, PullError> {
        if policy != PullPolicy::Always
            && let Some(image) = self.local()
        {
            if policy == PullPolicy::IfNotPresent {
                log_line("Using locally found image version due to \"if-not-present\" pull policy");
            }
            return Ok(image);
        }
        if policy == PullPolicy::Never { Err(PullError::NotHere) } else { self.pull() }
    }

    /// The image that the name meant last, if this project may use it unasked.
    fn local(&self) -> Option<StoredImage> {
        let record = self.store.record(self.reference, &self.platform)?;
        let allowed = record.public || record.projects.contains(&self.project);
        allowed.then(|| self.store.get(&record.digest)).flatten()
    }

    fn pull(&self) -> Result<StoredImage, PullError> {
        log_line(&format!("Pulling docker image {} ...", self.name));
        let login = self.credentials.find(self.reference);
        if let Some(login) = login {
            log_line(&format!("Authenticating with credentials from {}", login.source));
        }
        let repository = Repository::new(self.reference, login, &self.registry)?;
        let mut record = self.store.record(self.reference, &self.platform).unwrap_or_default();
        // One request where nothing changed. The answer also says that this project may have the image.
        let remote = repository.digest()?;
        let unchanged = remote.is_some() && remote == record.remote_digest;
        let image = match unchanged.then(|| self.store.get(&record.digest)).flatten() {
            Some(image) => image,
            None => {
                let found = repository.manifest(&self.platform)?;
                match self.store.get(&found.digest) {
                    Some(image) => image,
                    None => self.store.add(&found.digest, &found.manifest, &repository)?,
                }
            }
        };
        if !unchanged || (login.is_some() && !record.projects.contains(&self.project)) {
            record.projects.retain(|_| unchanged);
            record.projects.push(self.project);
            let public = login.is_none() || (unchanged && record.public);
            let name = self.reference.to_string();
            let digest = image.digest.clone();
            let record = NameRecord {
                name,
                platform: self.platform.clone(),
                digest,
                remote_digest: remote,
                public,
                ..record
            };
            self.store.remember(self.reference, &record)?;
        }
        Ok(image)
    }

    fn found_line(&self, image: &StoredImage) -> String {
        let tagged = match &self.reference.version {
            Version::Tag(_) => self.name.to_owned(),
            Version::Digest(_) => self.reference.familiar_repository(),
        };
        let digest = &image.digest;
        let repository = self.reference.familiar_repository();
        format!("Using docker image {} for {tagged} with digest {repository}@{digest} ...", image.id)
    }

    fn stage_failure(&self, policies: &[PullPolicy], error: PullError) -> StageFailure {
        let text = format!(
            "failed to pull image \"{}\" with specified policies [{}]: {}",
            self.name,
            policy::join(policies),
            error.text()
        );
        match error {
            PullError::NotHere => StageFailure::job(
                text,
                "the policy `never` uses only images that this node has; use another policy",
            ),
            PullError::Store(StoreError::Registry(error)) if error.is_final() => {
                StageFailure::job(text, error.hint())
            }
            PullError::Store(StoreError::Registry(error)) => {
                StageFailure::system_with_hint(text, error.hint())
            }
            PullError::Store(_) => StageFailure::system_with_hint(
                text,
                "check that the node has room and that `image_dir` and `node_dir` can be written",
            ),
        }
    }
}

/// Why one policy did not give an image.
enum PullError {
    NotHere,
    Store(StoreError),
}

impl PullError {
    fn text(&self) -> String {
        match self {
            Self::NotHere => "no such image on this node".to_owned(),
            Self::Store(StoreError::Registry(error)) => chain(error),
            Self::Store(error) => chain(error),
        }
    }
}

impl From<StoreError> for PullError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RegistryError> for PullError {
    fn from(error: RegistryError) -> Self {
        Self::Store(error.into())
    }
}

/// docker's order: the variable, the user's own file, the job's payload.
fn collect_credentials(context: &Context, job: &Job) -> Credentials {
    let mut credentials = Credentials::default();
    let environment = &context.environment;
    let variable = job.variable("DOCKER_AUTH_CONFIG");
    let variable = variable.or_else(|| environment.variables.get("DOCKER_AUTH_CONFIG").map(String::as_str));
    if let Some(text) = variable {
        credentials.add_docker_config(text, "$DOCKER_AUTH_CONFIG");
    }
    let file = environment.home.as_ref().map(|home| home.join(".docker/config.json"));
    if let Some(file) = file
        && let Ok(text) = fs::read_to_string(&file)
    {
        credentials.add_docker_config(&text, &file.display().to_string());
    }
    for login in job.credentials.iter().filter(|login| login.kind == "registry") {
        let source = "job payload (GitLab Registry)";
        credentials.add(&login.url, login.username.clone(), login.password.clone(), source);
    }
    credentials
}

/// The job's `platform:` or this machine's, in the registry's words (Go's names of architectures).
fn platform(wanted: &str) -> String {
    match wanted {
        "" => format!("linux/{}", go_architecture(std::env::consts::ARCH)),
        wanted if wanted.contains('/') => wanted.to_owned(),
        architecture => format!("linux/{architecture}"),
    }
}

fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "x86" => "386",
        other => other,
    }
}
