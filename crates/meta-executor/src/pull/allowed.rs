//! Which image a job runs in, and whether it may.

use globset::GlobBuilder;

use super::ImageName;
use crate::context::Context;
use crate::failure::StageFailure;
use crate::job::Job;
use crate::job_variables::expand;
use crate::log_line;
use crate::named_by::NamedBy;
use crate::services::plan::PlannedService;

/// The name that the job or the configuration gives, if it is allowed.
pub(crate) fn image_name(context: &Context, job: &Job) -> Result<ImageName, StageFailure> {
    // docker expands its default image with the job's variables, too; in our file their dollars are written `$$`.
    let default = context.settings.image.as_deref().map(|image| expand(image, job, &context.environment));
    let default = default.filter(|image| !image.is_empty());
    if job.image.name.is_empty() {
        let named = default.map(|text| ImageName { text, named_by: NamedBy::DefaultImage });
        return named.inspect(|_| log_line("Using default image")).ok_or_else(|| {
            StageFailure::job(
                "this job names no image and the runner has no default",
                "write `image: NAME` in .gitlab-ci.yml, or ask the administrator for `image` in `[executor]`",
            )
        });
    }
    let name = job.image.name.as_str();
    let allowed = &context.settings.allowed_images;
    if default.as_deref() == Some(name) || is_allowed(name, allowed) {
        return Ok(ImageName { text: name.to_owned(), named_by: NamedBy::Job });
    }
    Err(refused(name, "images", allowed))
}

/// Whether the job may have this service. What the configuration names needs no permission, also where a job names it.
pub(super) fn check_service(context: &Context, service: &PlannedService<'_>) -> Result<(), StageFailure> {
    let name = service.image.name.as_str();
    let settings = &context.settings;
    if service.named_by == NamedBy::ConfiguredService
        || settings.services.iter().any(|configured| configured.name == name)
        || is_allowed(name, &settings.allowed_services)
    {
        return Ok(());
    }
    Err(refused(name, "services", &settings.allowed_services))
}

/// In docker's words; `what` is `images` or `services`.
fn refused(name: &str, what: &str, globs: &[String]) -> StageFailure {
    let list: String = globs.iter().map(|glob| format!("\n- {glob}")).collect();
    StageFailure::job(
        format!("The \"{name}\" image is not present on list of allowed {what}:{list}"),
        format!(
            "use an image that matches, or ask the administrator to change `allowed_{what}` in `[executor]`"
        ),
    )
}

/// Whether a name, as it is written, matches one of docker's globs: `*` stays within a path component, `**` does not.
/// Without globs everything is allowed. One that cannot be understood matches nothing.
fn is_allowed(name: &str, globs: &[String]) -> bool {
    let matches = |glob: &String| {
        GlobBuilder::new(glob)
            .literal_separator(true)
            .empty_alternates(true)
            .build()
            .inspect_err(|error| log::warn!("a glob of `[executor]`: {error}"))
            .is_ok_and(|glob| glob.compile_matcher().is_match(name))
    };
    globs.is_empty() || globs.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn globs_are_those_of_docker() {
        for (glob, name, allowed) in [
            ("ruby:*", "ruby:3.4", true),
            ("ruby:*", "library/ruby:3.4", false),
            ("ruby", "docker.io/library/ruby", false),
            ("reg.io/*", "reg.io/a", true),
            ("reg.io/*", "reg.io/a/b", false),
            ("reg.io/**", "reg.io/a/b:1", true),
            ("reg.io/**/*:1", "reg.io/a/b:1", true),
            ("reg.io/**/*:1", "reg.io/b:1", true),
            ("*", "ruby", true),
            ("*", "reg.io/ruby", false),
            ("{ruby,python}:*", "python:3", true),
            ("ruby{,:*}", "ruby", true),
            ("ruby:[0-9]", "ruby:3", true),
            ("ruby:?.?", "ruby:3.4", true),
            ("[", "[", false),
        ] {
            assert_eq!(is_allowed(name, &[glob.to_owned()]), allowed, "{glob} {name}");
        }
        assert!(is_allowed("anything", &[]));
    }
}
