//! One image of one job: the policies in turn, and what a failure means (gitlab-runner:
//! `executors/docker/internal/pull/manager.go`).

use std::thread;
use std::time::Duration;

use meta_core::executor_settings::PullPolicy;
use meta_host::random;

use crate::failure::{StageFailure, chain};
use crate::image::credentials::{Credentials, Login};
use crate::image::names::NameRecord;
use crate::image::platform::Platform;
use crate::image::policy;
use crate::image::reference::Reference;
use crate::image::registry::{Manifest, RegistrySettings, Repository};
use crate::image::store::{Store, StoreError, StoredImage};
use crate::log_line;
use crate::named_by::NamedBy;

/// Tries within one policy, where the network or the registry is at fault.
const TRIES: u32 = 3;
const SHORTEST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// One image of one job.
pub(super) struct Request<'a> {
    pub(super) name: &'a str,
    pub(super) named_by: NamedBy,
    pub(super) reference: &'a Reference,
    pub(super) platform: Platform,
    /// As the job wrote it, if it did.
    pub(super) wanted_platform: Option<String>,
    pub(super) project: String,
    pub(super) store: Store,
    pub(super) credentials: Credentials,
    pub(super) registry: RegistrySettings,
}

/// An image and the digest that the registry has for its name: of the index, where there is one.
struct Found {
    image: StoredImage,
    digest: String,
}

impl Request<'_> {
    pub(super) fn try_policies(&self, policies: &[PullPolicy]) -> Result<StoredImage, StageFailure> {
        let mut failure = StoreError::NotHere;
        for (index, policy) in policies.iter().enumerate() {
            if index > 0 {
                log_line(&format!("Attempt #{}: Trying \"{}\" pull policy", index + 1, policy.as_str()));
            }
            match self.try_policy(*policy) {
                Ok(found) => {
                    log_line(&self.found_line(&found));
                    return Ok(found.image);
                }
                Err(error) => {
                    let policy = policy.as_str();
                    log_line(&format!(
                        "WARNING: Failed to pull image with policy \"{policy}\": {}",
                        reason(&error)
                    ));
                    failure = error;
                }
            }
        }
        Err(self.stage_failure(policies, &failure))
    }

    fn try_policy(&self, policy: PullPolicy) -> Result<Found, StoreError> {
        if policy != PullPolicy::Always
            && let Some(found) = self.local()?
        {
            if policy == PullPolicy::IfNotPresent {
                log_line("Using locally found image version due to \"if-not-present\" pull policy");
            }
            return Ok(found);
        }
        if policy == PullPolicy::Never { Err(StoreError::NotHere) } else { self.pull() }
    }

    /// The image that the name meant last, if this project may use it unasked.
    fn local(&self) -> Result<Option<Found>, StoreError> {
        let Some(record) = self.store.names.record(self.reference, &self.platform) else { return Ok(None) };
        if !record.may_be_used_by(&self.project) {
            return Ok(None);
        }
        let found = self.store.find(&record.digest)?;
        let digest = record.remote_digest.unwrap_or(record.digest);
        Ok(found.map(|image| Found { image, digest }))
    }

    fn pull(&self) -> Result<Found, StoreError> {
        let platform = self
            .wanted_platform
            .as_ref()
            .map_or_else(String::new, |wanted| format!(" for platform {wanted}"));
        let login = self.credentials.find(self.reference);
        if let Some(login) = login {
            log_line(&format!("Authenticating with credentials from {}", login.source));
        }
        log_line(&format!("Pulling docker image {}{platform} ...", self.name));
        let repository = Repository::new(self.reference, login, &self.registry)?;
        for attempt in 1.. {
            match self.pull_once(&repository, login) {
                Err(error) if error.is_transient() && attempt < TRIES => {
                    let (name, error) = (self.name, reason(&error));
                    log_line(&format!(
                        "WARNING: Failed to pull image \"{name}\" (attempt #{attempt}), retrying: {error}"
                    ));
                    thread::sleep(wait_before(attempt + 1, random::number()));
                }
                result => return result,
            }
        }
        Err(StoreError::NotHere)
    }

    /// One request where nothing changed. The answer also says that this project may have the image.
    fn pull_once(&self, repository: &Repository<'_>, login: Option<&Login>) -> Result<Found, StoreError> {
        let known = self.store.names.record(self.reference, &self.platform);
        let remote = repository.digest()?;
        if let Some(record) = known
            && remote.is_some()
            && record.remote_digest == remote
            && let Some(image) = self.store.find(&record.digest)?
        {
            let digest = record.remote_digest.clone().unwrap_or_default();
            let now = record.clone().allowing(&self.project, login.is_none());
            if now != record {
                self.remember(&now)?;
            }
            return Ok(Found { image, digest });
        }
        let found = repository.manifest(&self.platform)?;
        let image = match self.store.get(&found.digest)? {
            Some(image) => image,
            None => self.store.add(&found, repository)?,
        };
        self.check_platform(repository, &found, &image)?;
        let record = NameRecord {
            name: self.reference.to_string(),
            platform: self.platform.to_string(),
            digest: found.digest,
            remote_digest: Some(found.named_digest.clone()),
            ..NameRecord::default()
        };
        self.remember(&record.allowing(&self.project, login.is_none()))?;
        Ok(Found { image, digest: found.named_digest })
    }

    fn remember(&self, record: &NameRecord) -> Result<(), StoreError> {
        self.store.names.remember(self.reference, &self.platform, record).map_err(StoreError::Prepare)
    }

    /// An image without an index may be for any platform; only its configuration tells.
    fn check_platform(
        &self,
        repository: &Repository<'_>,
        found: &Manifest,
        image: &StoredImage,
    ) -> Result<(), StoreError> {
        let actual = Platform::of_image(&image.config);
        if found.platform_known || self.platform.accepts(&actual) {
            return Ok(());
        }
        if self.wanted_platform.is_some() {
            return Err(repository.other_platform(&self.platform, actual).into());
        }
        log_line(&format!(
            "WARNING: The requested image's platform ({actual}) does not match the detected host platform ({}) and no specific platform was requested",
            self.platform
        ));
        Ok(())
    }

    fn found_line(&self, found: &Found) -> String {
        let (id, digest, repository) = (&found.image.id, &found.digest, self.reference.familiar_repository());
        format!("Using docker image {id} for {} with digest {repository}@{digest} ...", self.name)
    }

    fn stage_failure(&self, policies: &[PullPolicy], error: &StoreError) -> StageFailure {
        let text = format!(
            "failed to pull image \"{}\" with specified policies [{}]: {}",
            self.name,
            policy::join(policies),
            reason(error)
        );
        let hint = error.hint(self.named_by);
        if error.is_final() {
            StageFailure::job(text, hint)
        } else {
            StageFailure::system_with_hint(text, hint)
        }
    }
}

/// How long to wait before a try, the second one being the first that waits: doubled each time, and anything between the
/// shortest time and that, so that jobs that failed together do not come back together.
fn wait_before(attempt: u32, random: u64) -> Duration {
    let longest =
        SHORTEST_WAIT.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST_WAIT);
    let spread = u64::try_from(longest.saturating_sub(SHORTEST_WAIT).as_millis()).unwrap_or(0);
    SHORTEST_WAIT + Duration::from_millis(random.checked_rem(spread).unwrap_or(0))
}

/// The registry's own words, or what failed here with its causes.
fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Registry(error) => chain(error),
        error => chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_limits() {
        for random in [0, 1, 1999, u64::MAX] {
            for (attempt, longest) in [(1, 2), (2, 4), (3, 8), (4, 10), (40, 10)] {
                let wait = wait_before(attempt, random);
                assert!(wait >= SHORTEST_WAIT && wait <= Duration::from_secs(longest), "{attempt}: {wait:?}");
            }
        }
    }
}
