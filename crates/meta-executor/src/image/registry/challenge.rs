//! What a registry asks for when it refuses a request: the `WWW-Authenticate` header (RFC 9110, section 11.6.1; docker:
//! `distribution/spec/auth/token`).

/// How the registry wants to be told who asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from the server at `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The first of the header lines that can be answered: without a login only a token can be had.
    pub(crate) fn choose<'a>(lines: impl Iterator<Item = &'a str>, has_login: bool) -> Option<Self> {
        lines.filter_map(Self::parse).find(|challenge| has_login || *challenge != Self::Basic)
    }

    /// Understands one header line. `None` if it asks for something else.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let (scheme, parameters) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (name, value) in Parameters(parameters) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// `name="value"` or `name=value`, separated by commas. A quoted value may hold commas and `\"`.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_once('=')?;
        let name = name.trim_start_matches([',', ' ']).trim_end();
        let Some(quoted) = rest.strip_prefix('"') else {
            let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
            self.0 = rest;
            return Some((name, value.trim().to_owned()));
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &quoted[index + 1..];
                    return Some((name, value));
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        // The closing quote is missing.
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_may_offer_several_ways() {
        let bearer = || Challenge::Bearer { realm: "https://a/t".to_owned(), service: None, scope: None };
        let offered = ["Negotiate", "Basic realm=\"x\"", "Bearer realm=\"https://a/t\""];
        assert_eq!(Challenge::choose(offered.into_iter(), false), Some(bearer()));
        assert_eq!(Challenge::choose(offered.into_iter(), true), Some(Challenge::Basic));
        assert_eq!(Challenge::choose(["Basic"].into_iter(), false), None);
    }

    #[test]
    fn challenges_are_understood() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (header, challenge) in [
            (
                r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a:pull,push""#,
                bearer("https://auth.example.com/token", Some("registry"), Some("repository:a:pull,push")),
            ),
            (
                r#"bearer service=reg, realm="https://a/t", error="x""#,
                bearer("https://a/t", Some("reg"), None),
            ),
            (r#"Bearer realm="a \"quoted\" word""#, bearer("a \"quoted\" word", None, None)),
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("BASIC", Some(Challenge::Basic)),
            ("Negotiate", None),
            (r#"Bearer service="no realm""#, None),
            (r#"Bearer realm="not closed"#, None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), challenge, "{header}");
        }
    }
}
