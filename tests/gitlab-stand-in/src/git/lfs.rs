//! Git LFS, as far as a runner needs it: where the objects are, and the objects. They lie in the bare repository, at
//! `lfs/objects/aa/bb/OID`, as `git lfs` itself keeps them.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::plain_answer;

const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

/// What a path below `REPOSITORY.git/` asks of LFS.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    Batch,
    Object(&'a str),
}

impl<'a> Ask<'a> {
    /// `None` if the path is git's own.
    pub(super) fn of(rest: &'a str) -> Option<Self> {
        match rest.strip_prefix("gitlab-lfs/objects/") {
            Some(oid) => Some(Self::Object(oid)),
            None => (rest == "info/lfs/objects/batch").then_some(Self::Batch),
        }
    }
}

/// Answers a call about the repository at `directory`, whose URL is `url`. `authorization` goes with the links, as GitLab
/// sends its own.
pub(super) fn answer(
    ask: &Ask<'_>,
    directory: &Path,
    url: &str,
    authorization: &str,
    body: &[u8],
) -> Response {
    match ask {
        Ask::Batch => batch(directory, url, authorization, body),
        Ask::Object(oid) => match object(directory, oid).and_then(|path| std::fs::read(path).ok()) {
            Some(content) => plain_answer(
                StatusCode::OK,
                &[("Content-Type", "application/octet-stream")],
                Body::from(content),
            ),
            None => plain_answer(StatusCode::NOT_FOUND, &[], "no such object"),
        },
    }
}

fn batch(directory: &Path, url: &str, authorization: &str, body: &[u8]) -> Response {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let entry = |wanted: &Value| {
        let oid = wanted["oid"].as_str().unwrap_or_default();
        let mut entry = json!({ "oid": oid, "size": wanted["size"] });
        if object(directory, oid).is_some_and(|path| path.exists()) {
            let header = json!({ "Authorization": authorization });
            let href = format!("{url}/gitlab-lfs/objects/{oid}");
            entry["actions"] = json!({ "download": { "href": href, "header": header } });
        } else {
            let message = "Object does not exist on the server or you don't have permissions to access it";
            entry["error"] = json!({ "code": 404, "message": message });
        }
        entry
    };
    let objects: Vec<Value> = asked["objects"].as_array().into_iter().flatten().map(entry).collect();
    let text = json!({ "transfer": "basic", "objects": objects }).to_string();
    plain_answer(StatusCode::OK, &[("Content-Type", MEDIA_TYPE)], text)
}

/// Where an object would be; `None` if that is no object id.
fn object(directory: &Path, oid: &str) -> Option<PathBuf> {
    let valid = oid.len() == 64 && oid.chars().all(|c| c.is_ascii_hexdigit());
    valid.then(|| directory.join("lfs/objects").join(&oid[..2]).join(&oid[2..4]).join(oid))
}

#[cfg(test)]
mod tests {
    use super::{Ask, object};
    use std::path::Path;

    #[test]
    fn paths_of_lfs_are_told_from_gits() {
        assert_eq!(Ask::of("info/lfs/objects/batch"), Some(Ask::Batch));
        assert_eq!(Ask::of("gitlab-lfs/objects/ab"), Some(Ask::Object("ab")));
        assert_eq!(Ask::of("info/refs"), None);
    }

    #[test]
    fn only_ids_lead_to_files() {
        let oid = "ab".repeat(32);
        let expected = format!("r/lfs/objects/ab/ab/{oid}");
        assert_eq!(object(Path::new("r"), &oid).as_deref(), Some(Path::new(&expected)));
        assert_eq!(object(Path::new("r"), "../../etc/passwd"), None);
    }
}
