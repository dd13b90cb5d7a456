//! Which refs of a project are protected.

use meta_core::launches::ProtectedRefs;

/// Whether GitLab gives jobs of this ref to protected runners. A merge request's own ref (`refs/merge-requests/1/head`)
/// counts as not protected: GitLab decides by its branches, which the list of jobs does not tell.
pub fn is_protected(refs: &ProtectedRefs, git_ref: &str, is_tag: bool) -> bool {
    let patterns = if is_tag { &refs.tags } else { &refs.branches };
    patterns.iter().any(|pattern| matches(pattern, git_ref))
}

/// `*` stands for any text, slashes included (gitlab `app/models/concerns/protected_ref.rb`).
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    let mut starts = rest.char_indices().map(|(start, _)| start).chain([rest.len()]);
    starts.any(|start| matches(tail, &rest[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_matched_as_gitlab_does() {
        for (pattern, text, expected) in [
            ("main", "main", true),
            ("main", "main2", false),
            ("release/*", "release/1.0/x", true),
            ("release/*", "release", false),
            ("*-stable", "v1-stable", true),
            ("*-stable", "v1-stable-2", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn branches_and_tags_have_their_own_lists() {
        let refs = ProtectedRefs { branches: vec!["main".to_owned()], tags: vec!["v*".to_owned()] };
        assert!(is_protected(&refs, "main", false) && is_protected(&refs, "v1", true));
        assert!(!is_protected(&refs, "main", true) && !is_protected(&refs, "v1", false));
        assert!(!is_protected(&refs, "refs/merge-requests/1/head", false));
    }
}
