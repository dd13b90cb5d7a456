//! Pages: offset with and without a count, and keyset.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::call::{Answer, Call, json_answer};
use super::error::ApiError;
use crate::model::State;

const DEFAULT_PER_PAGE: usize = 20;
const MAX_PER_PAGE: usize = 100;

/// Number and size of the page asked for. A size above 100 is cut to 100, as GitLab does.
fn asked(call: &Call) -> Result<(usize, usize), ApiError> {
    let number = |name: &str, default: usize| match call.params.integer(name)? {
        None => Ok(default),
        Some(value) if value > 0 => Ok(usize::try_from(value).unwrap_or(usize::MAX)),
        Some(_) => Err(ApiError::parameter(format!("{name} does not have a valid value"))),
    };
    Ok((number("page", 1)?, number("per_page", DEFAULT_PER_PAGE)?.min(MAX_PER_PAGE)))
}

/// One offset page with all headers.
pub(super) fn paged(call: &Call, state: &State, items: Vec<Value>) -> Answer {
    offset(call, state, items, true)
}

/// One offset page without `X-Total`, `X-Total-Pages` and `rel="last"`.
pub(super) fn paged_without_count(call: &Call, state: &State, items: Vec<Value>) -> Answer {
    offset(call, state, items, false)
}

/// One keyset page: no page numbers, only `rel="next"`, and none on the last page. `items` are in order, with ids.
pub(super) fn keyset(call: &Call, state: &State, items: Vec<Value>) -> Answer {
    let (_, per_page) = asked(call)?;
    let ascending = call.params.text("sort").as_deref() == Some("asc");
    let cursor = call.params.text("cursor");
    let after: Option<i64> = match cursor.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let id = text.strip_prefix("id-").and_then(|id| id.parse().ok());
            Some(id.ok_or_else(|| ApiError::parameter("cursor is invalid"))?)
        }
    };
    let beyond = |item: &Value| match (after, item["id"].as_i64()) {
        (Some(after), Some(id)) => {
            if ascending {
                id > after
            } else {
                id < after
            }
        }
        _ => true,
    };
    let mut rest: Vec<Value> = items.into_iter().filter(beyond).collect();
    let more = rest.len() > per_page;
    rest.truncate(per_page);
    let next = rest.last().filter(|_| more).and_then(|item| item["id"].as_i64());
    let link = next.map(|id| link(call, state, &[("cursor", &format!("id-{id}"))], "next"));
    Ok(page(&[], link.into_iter().collect(), rest))
}

fn offset(call: &Call, state: &State, items: Vec<Value>, counted: bool) -> Answer {
    let (number, per_page) = asked(call)?;
    let total = items.len();
    let pages = total.div_ceil(per_page).max(1);
    let slice: Vec<Value> = items.into_iter().skip((number - 1) * per_page).take(per_page).collect();
    let next = (number * per_page < total).then_some(number + 1);
    let previous = (number > 1).then(|| number - 1);
    let show = |page: Option<usize>| page.map(|page| page.to_string()).unwrap_or_default();
    let mut headers = vec![
        ("X-Page", number.to_string()),
        ("X-Per-Page", per_page.to_string()),
        ("X-Next-Page", show(next)),
        ("X-Prev-Page", show(previous)),
    ];
    let to = |page: usize, relation: &str| {
        link(call, state, &[("page", &page.to_string()), ("per_page", &per_page.to_string())], relation)
    };
    let mut links: Vec<String> = Vec::new();
    links.extend(previous.map(|page| to(page, "prev")));
    links.extend(next.map(|page| to(page, "next")));
    links.push(to(1, "first"));
    if counted {
        headers.push(("X-Total", total.to_string()));
        headers.push(("X-Total-Pages", pages.to_string()));
        links.push(to(pages, "last"));
    }
    Ok(page(&headers, links, slice))
}

fn page(headers: &[(&str, String)], links: Vec<String>, items: Vec<Value>) -> Response {
    let joined = links.join(", ");
    let mut all: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if !joined.is_empty() {
        all.push(("Link", &joined));
    }
    json_answer(StatusCode::OK, &all, &Value::Array(items))
}

/// `<this URL with some parameters replaced>; rel="..."`.
fn link(call: &Call, state: &State, replaced: &[(&str, &str)], relation: &str) -> String {
    let query = call.uri.query().unwrap_or_default();
    let kept = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| replaced.iter().all(|(key, _)| key != name) && name != "private_token");
    let mut written = form_urlencoded::Serializer::new(String::new());
    written.extend_pairs(kept);
    written.extend_pairs(replaced);
    // The path of a nested route comes without the prefix of the nest.
    format!("<{}/api/v4{}?{}>; rel=\"{relation}\"", state.url, call.uri.path(), written.finish())
}
