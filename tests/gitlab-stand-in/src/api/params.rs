//! Parameters of a request, wherever they are: query, JSON, form or multipart body.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

use super::error::ApiError;

/// A file of a multipart body.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) filename: String,
    pub(crate) content: Bytes,
}

/// Names with their values. `name[]=a&name[]=b` and `name[0]=a` give a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    values: BTreeMap<String, Value>,
    pub(crate) file: Option<Upload>,
}

impl Params {
    /// Reads query and body. `body` is the whole body of `request`, which is used for its head only.
    pub(crate) async fn read(request: Request, body: Bytes) -> Result<Self, ApiError> {
        let mut params = Self::default();
        params.add_pairs(request.uri().query().unwrap_or_default().as_bytes());
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.to_ascii_lowercase();
        if kind.starts_with("multipart/form-data") {
            let (head, _) = request.into_parts();
            params.add_multipart(Request::from_parts(head, body.into())).await?;
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            params.add_pairs(&body);
        } else if kind.contains("json") && !body.is_empty() {
            let parsed = serde_json::from_slice(&body);
            let parsed =
                parsed.map_err(|_| ApiError::bad_request("There was a problem in the JSON you submitted"))?;
            if let Value::Object(map) = parsed {
                params.values.extend(map);
            }
        }
        Ok(params)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A text; numbers and bools are taken as they print.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(_) => {
                let number = self.text(name).and_then(|text| text.parse().ok());
                number.map(Some).ok_or_else(|| ApiError::parameter(format!("{name} is invalid")))
            }
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name).as_deref() {
            None | Some("") => Ok(None),
            Some("true" | "1" | "True" | "t" | "on") => Ok(Some(true)),
            Some("false" | "0" | "False" | "f" | "off") => Ok(Some(false)),
            Some(_) => Err(ApiError::parameter(format!("{name} is invalid"))),
        }
    }

    /// A list, or one text split at commas.
    pub(crate) fn comma_list(&self, name: &str) -> Option<Vec<String>> {
        let items: Vec<String> = match self.get(name)? {
            Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            Value::String(text) => text.split(',').map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Some(items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
    }

    /// A list, a hash of values, or one text as a list of one.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(|i| i.as_str().map(str::to_owned)).collect(),
            Some(Value::Object(map)) => map.values().filter_map(|i| i.as_str().map(str::to_owned)).collect(),
            Some(Value::String(text)) => vec![text.clone()],
            _ => Vec::new(),
        }
    }

    /// One of `allowed`, else 400.
    pub(crate) fn choice(&self, name: &str, allowed: &[&str]) -> Result<Option<String>, ApiError> {
        match self.text(name) {
            Some(text) if !allowed.contains(&text.as_str()) => {
                Err(ApiError::parameter(format!("{name} does not have a valid value")))
            }
            other => Ok(other),
        }
    }

    fn add_pairs(&mut self, encoded: &[u8]) {
        for (name, value) in form_urlencoded::parse(encoded) {
            self.add(&name, Value::String(value.into_owned()));
        }
    }

    fn add(&mut self, name: &str, value: Value) {
        match name.split_once('[') {
            None => {
                self.values.insert(name.to_owned(), value);
            }
            Some((base, _)) => {
                let list = self.values.entry(base.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(items) = list {
                    items.push(value);
                }
            }
        }
    }

    /// Of any size: what is too large is the caller's to say, in GitLab's words.
    async fn add_multipart(&mut self, mut request: Request) -> Result<(), ApiError> {
        let broken = || ApiError::bad_request("broken multipart body");
        DefaultBodyLimit::disable().apply(&mut request);
        let mut parts = Multipart::from_request(request, &()).await.map_err(|_| broken())?;
        while let Some(part) = parts.next_field().await.map_err(|_| broken())? {
            let name = part.name().unwrap_or_default().to_owned();
            let filename = part.file_name().map(str::to_owned);
            let content = part.bytes().await.map_err(|_| broken())?;
            match filename {
                Some(filename) => self.file = Some(Upload { filename, content }),
                None => self.add(&name, Value::String(String::from_utf8_lossy(&content).into_owned())),
            }
        }
        Ok(())
    }
}
