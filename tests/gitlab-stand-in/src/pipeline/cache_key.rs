//! `cache:key` of a job.

use super::spec::CacheKey;

/// GitLab takes at most this many files.
const MOST_FILES: usize = 2;

impl CacheKey {
    /// The key as runners get it. `last_commit` names the commit that changed a file last. GitLab hashes their ids; runners
    /// take the key as it is, so here they stay readable.
    pub(super) fn settled(&self, last_commit: impl Fn(&str) -> Option<String>) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Files { prefix, files } => {
                let mut ids: Vec<String> =
                    files.iter().take(MOST_FILES).filter_map(|file| last_commit(file)).collect();
                ids.sort();
                ids.dedup();
                let digest = if ids.is_empty() { "default".to_owned() } else { ids.join("-") };
                if prefix.is_empty() { digest } else { format!("{prefix}-{digest}") }
            }
        }
    }

    /// The same, without a repository to look into.
    pub(super) fn text(&self) -> String {
        self.settled(|_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::CacheKey;

    #[test]
    fn keys_of_files_are_those_of_their_commits() {
        let key = |prefix: &str| CacheKey::Files {
            prefix: prefix.to_owned(),
            files: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(key("p").text(), "p-default");
        assert_eq!(key("").settled(|file| (file == "a").then(|| "1234".to_owned())), "1234");
        assert_eq!(key("p").settled(|file| Some(format!("of-{file}"))), "p-of-a-of-b");
        assert_eq!(CacheKey::Text("x".to_owned()).text(), "x");
    }
}
