//! Platforms of images: what a job asks for, and which entry of an index fits (containerd: `platforms`).

use std::fmt;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex};

/// Operating system, architecture and variant, in the registry's words (Go's names).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Architectures that need no operating system in front of them.
const ARCHITECTURES: [&str; 13] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x",
];

impl Platform {
    /// This machine's.
    pub(crate) fn native() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// Understands `linux/arm64`, `linux/arm/v7`, `arm64`, `aarch64`. `None` if it is no platform.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<String> = text.trim().split('/').map(str::to_lowercase).collect();
        match parts.as_slice() {
            [one] if one == "linux" => Some(Self::native()),
            [architecture] => {
                let platform = Self::new("linux", architecture, None);
                ARCHITECTURES.contains(&platform.architecture.as_str()).then_some(platform)
            }
            [os, architecture] if is_word(os) && is_word(architecture) => {
                Some(Self::new(os, architecture, None))
            }
            [os, architecture, variant]
                if [os, architecture, variant].into_iter().all(|part| is_word(part)) =>
            {
                Some(Self::new(os, architecture, Some(variant)))
            }
            _ => None,
        }
    }

    /// What the configuration of an image says that it is for.
    pub(crate) fn of_image(config: &ImageConfiguration) -> Self {
        Self::new(
            &config.os().to_string(),
            &config.architecture().to_string(),
            config.variant().as_deref().filter(|variant| !variant.is_empty()),
        )
    }

    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("i386" | "x86", variant) => ("386", variant),
            ("powerpc64", variant) => ("ppc64le", variant),
            (architecture, variant) => (architecture, variant),
        };
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// Whether what is made for `found` runs where this platform is wanted.
    pub(crate) fn accepts(&self, found: &Self) -> bool {
        self.os == found.os
            && self.architecture == found.architecture
            && (self.variant.is_none() || found.variant.is_none() || self.variant == found.variant)
    }

    /// The entry of `index` for this platform: one of the very variant first. Entries without a platform are looked at
    /// last; attestations are there as `unknown/unknown` and never fit.
    pub(crate) fn choose<'a>(&self, index: &'a ImageIndex) -> Option<&'a Descriptor> {
        let fits = |entry: &&Descriptor| {
            entry.platform().as_ref().is_some_and(|found| self.accepts(&Self::of_entry(found)))
        };
        let same = |entry: &&Descriptor| {
            entry.platform().as_ref().is_some_and(|found| Self::of_entry(found).variant == self.variant)
        };
        let entries = || index.manifests().iter();
        entries()
            .filter(fits)
            .find(same)
            .or_else(|| entries().find(fits))
            .or_else(|| entries().find(|entry| entry.platform().is_none()))
    }

    fn of_entry(found: &oci_spec::image::Platform) -> Self {
        let variant = found.variant().as_deref().filter(|variant| !variant.is_empty());
        Self::new(&found.os().to_string(), &found.architecture().to_string(), variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

fn is_word(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_write_platforms_in_many_ways() {
        for (text, platform) in [
            ("linux/arm64", Some("linux/arm64")),
            ("arm64", Some("linux/arm64")),
            ("linux/arm64/v8", Some("linux/arm64")),
            ("Linux/AArch64", Some("linux/arm64")),
            ("linux/arm/v7", Some("linux/arm/v7")),
            ("armhf", Some("linux/arm/v7")),
            ("x86_64", Some("linux/amd64")),
            ("windows/amd64", Some("windows/amd64")),
            ("quantum", None),
            ("linux/", None),
            ("a/b/c/d", None),
            ("", None),
        ] {
            assert_eq!(
                Platform::parse(text).map(|platform| platform.to_string()).as_deref(),
                platform,
                "{text}"
            );
        }
    }

    fn index(entries: &[&str]) -> ImageIndex {
        let entries: Vec<serde_json::Value> = entries
            .iter()
            .enumerate()
            .map(|(number, platform)| {
                let mut parts = platform.split('/');
                let mut entry = serde_json::json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
                    "digest": format!("sha256:{}", number.to_string().repeat(64)),
                });
                if !platform.is_empty() {
                    let (os, architecture) = (parts.next(), parts.next());
                    entry["platform"] = serde_json::json!({ "os": os, "architecture": architecture });
                    if let Some(variant) = parts.next() {
                        entry["platform"]["variant"] = variant.into();
                    }
                }
                entry
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "schemaVersion": 2, "manifests": entries }))
            .expect("an index")
    }

    #[test]
    fn the_right_entry_of_an_index() {
        let chosen = |entries: &[&str], wanted: &str| {
            let index = index(entries);
            let wanted = Platform::parse(wanted).expect("a platform");
            wanted.choose(&index).map(|entry| entry.digest().to_string().as_bytes()[7] - b'0')
        };
        let all = ["unknown/unknown", "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"];
        assert_eq!(chosen(&all, "linux/amd64"), Some(1));
        assert_eq!(chosen(&all, "linux/arm/v7"), Some(3));
        assert_eq!(chosen(&all, "linux/arm64"), Some(4));
        assert_eq!(chosen(&all, "linux/s390x"), None);
        assert_eq!(chosen(&["unknown/unknown"], "linux/amd64"), None);
        assert_eq!(
            chosen(&["linux/arm64", ""], "linux/amd64"),
            Some(1),
            "one that does not say is looked at"
        );
    }
}
