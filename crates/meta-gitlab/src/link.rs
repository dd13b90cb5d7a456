//! The `Link` header (RFC 8288), by which GitLab names the next page.

/// The target of the link with `rel="next"`, untouched.
pub(crate) fn next_page(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters.split(';').any(|parameter| is_next(parameter.trim())).then_some(target)
    })
}

/// The part of a link that stands behind `/api/v4`, with its slash.
pub(crate) fn below_api(link: &str) -> Option<&str> {
    const API: &str = "/api/v4";
    let start = link.find(&format!("{API}/"))?;
    Some(&link[start + API.len()..])
}

fn is_next(parameter: &str) -> bool {
    matches!(parameter.split_once('='), Some(("rel", value)) if value.trim_matches('"') == "next")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page_among_others() {
        let header =
            r#"<https://h/api/v4/x?page=1>; rel="first", <https://h/api/v4/x?cursor=a%3D&b=1>; rel="next""#;
        assert_eq!(next_page(header), Some("https://h/api/v4/x?cursor=a%3D&b=1"));
        assert_eq!(next_page("<https://h/x>; rel=next"), Some("https://h/x"));
    }

    #[test]
    fn what_stands_below_the_api() {
        assert_eq!(below_api("http://inner:8080/git/api/v4/x?a=/api/v4/"), Some("/x?a=/api/v4/"));
        assert_eq!(below_api("https://h/x"), None);
    }

    #[test]
    fn the_last_page_has_none() {
        assert_eq!(next_page(r#"<https://h/x?page=1>; rel="first", <https://h/x?page=2>; rel="prev""#), None);
        assert_eq!(next_page(""), None);
    }
}
