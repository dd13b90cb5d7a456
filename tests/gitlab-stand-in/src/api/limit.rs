//! Limits of single endpoints.

use super::call::Call;
use super::error::ApiError;
use crate::model::State;

impl Call {
    /// Counts one use of the limit `name` by `key`, and answers 429 when there were more than `limit` in this minute
    /// (0: no limit).
    pub(super) fn limit(
        &self,
        state: &mut State,
        name: &'static str,
        key: &str,
        limit: u64,
    ) -> Result<(), ApiError> {
        let now = state.now();
        let used = state.ledger.use_limit(now, name, key);
        if limit > 0 && used > limit { Err(ApiError::limited()) } else { Ok(()) }
    }
}
