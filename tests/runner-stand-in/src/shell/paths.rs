//! Go's lexical path functions, which decide how paths are spelled in scripts and variables.

/// `path.Clean`: resolves `.`, `..` and double slashes; an empty path is `.`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if matches!(parts.last(), Some(last) if *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// `path.Join` of two parts, either of which may be empty.
pub(crate) fn join(base: &str, part: &str) -> String {
    match (base, part) {
        ("", "") => String::new(),
        ("", only) | (only, "") => clean(only),
        _ => clean(&format!("{base}/{part}")),
    }
}

/// `filepath.Rel`: the way from `base` to `target`, both absolute or both relative; none if there is no such way.
pub(crate) fn relative(base: &str, target: &str) -> Option<String> {
    let (base, target) = (clean(base), clean(target));
    if base.starts_with('/') != target.starts_with('/') {
        return None;
    }
    let parts = |path: &str| -> Vec<String> {
        path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
    };
    let (base, target) = (parts(&base), parts(&target));
    let common = base.iter().zip(&target).take_while(|(a, b)| a == b).count();
    if base[common..].iter().any(|part| part == "..") {
        return None;
    }
    let up = base[common..].iter().map(|_| "..");
    let way: Vec<&str> = up.chain(target[common..].iter().map(String::as_str)).collect();
    Some(if way.is_empty() { ".".to_owned() } else { way.join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_related_as_go_does() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("/a//b/../c/.", "/a/c"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("/..", "/"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
        assert_eq!(join("/builds", "/g/p"), "/builds/g/p");
        assert_eq!(
            relative("/builds/g/p", "/cache/g/p/k/cache.zip").as_deref(),
            Some("../../../cache/g/p/k/cache.zip")
        );
        assert_eq!(relative("builds", "/cache"), None);
    }
}
