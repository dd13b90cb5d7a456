//! Wrong answers on demand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the next matching requests get instead of, or before, their answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// Method and route pattern: `GET /api/v4/projects/{id}/jobs`. Either half may be `*`.
    pub(crate) route: String,
    /// Only requests whose body contains this text, such as `"state":"success"`.
    #[serde(default)]
    pub(crate) body_contains: Option<String>,
    /// How many requests are hit.
    #[serde(default = "once")]
    pub(crate) times: u64,
    /// How many matching requests pass unharmed first.
    #[serde(default)]
    pub(crate) skip: u64,
    /// Milliseconds of waiting before anything is answered.
    #[serde(default)]
    pub(crate) delay_ms: u64,
    /// What comes in place of the real answer.
    #[serde(default)]
    pub(crate) answer: Option<FaultAnswer>,
}

/// The shapes of wrong answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FaultAnswer {
    /// The connection is closed without a byte; the request has had no effect.
    Drop,
    /// The connection is closed after the request has had its effect: the answer is lost.
    DropAfter,
    /// The general throttle: plain text, `Retry-After` and `RateLimit-*`.
    Throttle { retry_after: u64 },
    /// The per-endpoint limiter: JSON, no `Retry-After`.
    Limiter,
    /// Any other answer.
    Status {
        status: u16,
        #[serde(default)]
        body: serde_json::Value,
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
}

fn once() -> u64 {
    1
}

impl Fault {
    fn hits(&self, method: &str, route: &str, body: &str) -> bool {
        let (wanted_method, wanted_route) = self.route.split_once(' ').unwrap_or(("*", self.route.as_str()));
        (wanted_method == "*" || wanted_method == method)
            && (wanted_route == "*" || wanted_route == route)
            && self.body_contains.as_deref().is_none_or(|text| body.contains(text))
    }
}

/// Takes the first fault that this request hits out of the list, and counts it down.
pub(crate) fn take_fault(faults: &mut Vec<Fault>, method: &str, route: &str, body: &str) -> Option<Fault> {
    let index = faults.iter().position(|fault| fault.hits(method, route, body))?;
    let fault = &mut faults[index];
    if fault.skip > 0 {
        fault.skip -= 1;
        return None;
    }
    fault.times = fault.times.saturating_sub(1);
    let taken = fault.clone();
    if taken.times == 0 {
        faults.remove(index);
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Fault {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_fault_hits_its_route_as_often_as_it_says() {
        let mut faults =
            vec![fault(r#"{"route": "GET /a/{id}", "times": 2, "skip": 1, "answer": "limiter"}"#)];
        let mut hit = |method: &str, route: &str| take_fault(&mut faults, method, route, "").is_some();
        assert!(!hit("GET", "/b"), "another route");
        assert!(!hit("GET", "/a/{id}"), "skipped");
        assert!(hit("GET", "/a/{id}"));
        assert!(!hit("POST", "/a/{id}"), "another method");
        assert!(hit("GET", "/a/{id}"));
        assert!(!hit("GET", "/a/{id}"), "used up");
    }

    #[test]
    fn a_fault_can_wait_for_a_body() {
        let mut faults = vec![fault(
            r#"{"route": "PUT *", "body_contains": "success", "answer": {"status": {"status": 202}}}"#,
        )];
        assert!(take_fault(&mut faults, "PUT", "/x", "running").is_none());
        assert!(take_fault(&mut faults, "PUT", "/x", "success").is_some());
    }
}
