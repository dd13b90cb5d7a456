//! Cancellation: a tree of scopes, each of which can be cancelled or time out, with all below it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How often a waiting thread looks at its scope. A child's end is noticed at once, through a channel.
pub(crate) const POLL: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub(crate) struct Scope(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parent: Option<Scope>,
    deadline: Option<(Instant, End)>,
    cancelled: AtomicBool,
    ended: OnceLock<End>,
}

/// Why a scope is over. What came first stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Cancelled,
    /// The job's timeout, or another that is reported as such.
    TimedOut,
    /// `prepare_timeout`, where it is shorter than the job's.
    PrepareTimedOut,
    /// `get_sources_timeout`, likewise.
    GetSourcesTimedOut,
}

impl Scope {
    /// A scope that nothing ends.
    pub(crate) fn endless() -> Self {
        Self::new(None, None)
    }

    fn new(parent: Option<Self>, deadline: Option<(Instant, End)>) -> Self {
        Self(Arc::new(Inner { parent, deadline, cancelled: AtomicBool::new(false), ended: OnceLock::new() }))
    }

    pub(crate) fn child(&self) -> Self {
        Self::new(Some(self.clone()), None)
    }

    /// A child with a time limit. A limit beyond the parent's own changes nothing, not even the reported cause.
    pub(crate) fn child_with_timeout(&self, timeout: Duration, cause: End) -> Self {
        let deadline = Instant::now() + timeout;
        let sooner = self.deadline().is_none_or(|parent| deadline < parent);
        Self::new(Some(self.clone()), sooner.then_some((deadline, cause)))
    }

    /// The earliest time limit that applies here.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = self.0.deadline.map(|(at, _)| at);
        let above = self.0.parent.as_ref().and_then(Self::deadline);
        own.into_iter().chain(above).min()
    }

    pub(crate) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
    }

    pub(crate) fn ended(&self) -> Option<End> {
        if let Some(end) = self.0.ended.get() {
            return Some(*end);
        }
        let end = if self.0.cancelled.load(Ordering::SeqCst) {
            Some(End::Cancelled)
        } else if let Some((at, cause)) = self.0.deadline
            && Instant::now() >= at
        {
            Some(cause)
        } else {
            self.0.parent.as_ref().and_then(Self::ended)
        };
        end.map(|end| *self.0.ended.get_or_init(|| end))
    }

    /// Sleeps for that long, or until the scope ends. Returns whether it slept to the end.
    pub(crate) fn sleep(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        while self.ended().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(POLL));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_ends_its_children_and_the_first_cause_stays() {
        let root = Scope::endless();
        let limited = root.child_with_timeout(Duration::ZERO, End::GetSourcesTimedOut);
        let below = limited.child();
        assert_eq!(below.ended(), Some(End::GetSourcesTimedOut));
        below.cancel();
        root.cancel();
        assert_eq!(below.ended(), Some(End::GetSourcesTimedOut));
        assert_eq!(root.ended(), Some(End::Cancelled));
    }

    #[test]
    fn a_limit_beyond_the_parents_is_the_parents() {
        let job = Scope::endless().child_with_timeout(Duration::ZERO, End::TimedOut);
        let prepare = job.child_with_timeout(Duration::from_secs(9), End::PrepareTimedOut);
        assert_eq!(prepare.ended(), Some(End::TimedOut));
        assert!(!prepare.sleep(Duration::from_secs(9)));
    }
}
