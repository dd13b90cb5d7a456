//! What a service is called: in the log, as a container, and by the job (gitlab-runner:
//! `helpers/container/services/services.go`).

/// A service's image name as docker's executor takes it apart. Nothing is completed: `postgres` stays `postgres`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceName {
    /// Without the registry's port and without version: `reg.example.com/group/postgres`.
    pub(crate) service: String,
    /// `16`, `latest` where none is given, or `@sha256:...`.
    version: String,
}

impl ServiceName {
    /// Takes `image` apart, which is known to be a good image name.
    pub(crate) fn of_image(image: &str) -> Self {
        let (named, digest) = match image.split_once('@') {
            Some((named, digest)) => (named, Some(format!("@{digest}"))),
            None => (image, None),
        };
        // A colon before a slash belongs to the registry's port.
        let (path, tag) = match named.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (named, None),
        };
        let service = match path.split_once('/') {
            Some((host, rest)) => format!("{}/{rest}", without_port(host)),
            None => path.to_owned(),
        };
        Self { service, version: tag.or(digest).unwrap_or_else(|| "latest".to_owned()) }
    }

    /// `NAME:VERSION` or `NAME@sha256:...`, for `Starting service ...`.
    pub(crate) fn shown(&self) -> String {
        let separator = if self.version.starts_with('@') { "" } else { ":" };
        format!("{}{separator}{}", self.service, self.version)
    }

    /// The name as part of a container's: `/` becomes `__`.
    pub(crate) fn slug(&self) -> String {
        self.service.replace('/', "__")
    }

    /// The image's own name: `postgres`.
    pub(crate) fn last_part(&self) -> &str {
        self.service.rsplit('/').next().unwrap_or_default()
    }

    /// What the service calls itself: docker's containers have their id. Short enough for a host name (63 characters).
    pub(crate) fn hostname(&self, index: usize) -> String {
        let name = self.last_part().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50);
        format!("{}-{index}", name.collect::<String>())
    }

    /// The host names that the service has without being asked, then those that the job gives it (`aliases`, parted by
    /// blanks or commas).
    pub(crate) fn host_names(&self, aliases: &str) -> Vec<String> {
        let mut names = vec![self.slug()];
        let dashed = self.service.replace('/', "-");
        if dashed != names[0] {
            names.push(dashed);
        }
        let given = aliases.split(|c: char| c == ',' || c.is_whitespace()).filter(|alias| !alias.is_empty());
        names.extend(given.map(str::to_owned));
        names
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let check = |image: &str, shown: &str, names: &[&str]| {
            let name = ServiceName::of_image(image);
            assert_eq!((name.shown().as_str(), name.host_names("")), (shown, own(names)), "{image}");
        };
        check("postgres", "postgres:latest", &["postgres"]);
        check("postgres:16", "postgres:16", &["postgres"]);
        check("tutum/wordpress:4", "tutum/wordpress:4", &["tutum__wordpress", "tutum-wordpress"]);
        check("reg.io:5000/a/b:1", "reg.io/a/b:1", &["reg.io__a__b", "reg.io-a-b"]);
        check("reg.io:5000/a/b", "reg.io/a/b:latest", &["reg.io__a__b", "reg.io-a-b"]);
        check(&format!("redis@{digest}"), &format!("redis@{digest}"), &["redis"]);
        check(&format!("redis:7@{digest}"), "redis:7", &["redis"]);
    }

    #[test]
    fn a_hostname_is_short_and_plain() {
        let hostname = |image: &str| ServiceName::of_image(image).hostname(3);
        assert_eq!(hostname("reg.io:5000/a/my_db.old:1"), "my-db-old-3");
        assert_eq!(hostname(&"x".repeat(100)).len(), 52);
    }

    #[test]
    fn aliases_are_parted_by_blanks_and_commas() {
        let names = ServiceName::of_image("redis:7").host_names("cache, queue\tstore");
        assert_eq!(names, own(&["redis", "cache", "queue", "store"]));
    }

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }
}
