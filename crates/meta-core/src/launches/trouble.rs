//! Something that is wrong for a while: told when it begins or changes, and now and then as long as it lasts.

use serde::{Deserialize, Serialize};

/// Seconds before the same is told again.
const AGAIN_S: u64 = 3600;

/// What is wrong with one thing, or was a moment ago. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// As it was told.
    pub text: String,
    /// When it began.
    pub since: u64,
    /// When it was told last.
    pub told: u64,
    /// When it ended, if it has. It is kept for a while: it may come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<u64>,
    /// When its end was told last; 0: never.
    #[serde(default, skip_serializing_if = "is_never")]
    pub end_told: u64,
}

impl Trouble {
    /// One that begins, and is told.
    pub fn new(text: &str, now: u64) -> Self {
        Self { text: text.to_owned(), since: now, told: now, over: None, end_told: 0 }
    }

    /// It is there. Gives whether that is to be told: it has changed, or an hour has passed since it was told, and not
    /// because it was away in between, so that what comes and goes is no stream of messages.
    pub fn is_met(&mut self, text: &str, now: u64) -> bool {
        if self.over.take().is_some() {
            self.since = now;
        }
        let is_told = is_alike(&self.text, text) && now.saturating_sub(self.told) < AGAIN_S;
        if !is_told {
            text.clone_into(&mut self.text);
            self.told = now;
        }
        !is_told
    }

    /// It is not there. Gives whether that is to be told: once for each time that it was told.
    pub fn is_over(&mut self, now: u64) -> bool {
        if self.over.is_some() {
            return false;
        }
        self.over = Some(now);
        let is_news = self.end_told < self.told;
        self.end_told = now;
        is_news
    }

    /// Every time that it has.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut u64> {
        [&mut self.since, &mut self.told, &mut self.end_told].into_iter().chain(&mut self.over)
    }
}

/// Seconds to wait and the like change all the time, and are no news.
fn is_alike(one: &str, other: &str) -> bool {
    let without_numbers = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    without_numbers(one) == without_numbers(other)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_never(time: &u64) -> bool {
    *time == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_when_it_changes_and_once_an_hour() {
        let mut trouble = Trouble::new("no answer, next try in 30 s", 1000);
        assert!(!trouble.is_met("no answer, next try in 60 s", 1060));
        assert!(!trouble.is_met("no answer, next try in 60 s", 4599));
        assert!(trouble.is_met("no answer, next try in 60 s", 4600));
        assert!(!trouble.is_met("no answer, next try in 60 s", 4660));
        assert!(trouble.is_met("refused", 4720) && !trouble.is_met("refused", 4780));
        assert_eq!((trouble.text.as_str(), trouble.since, trouble.told), ("refused", 1000, 4720));
    }

    #[test]
    fn what_comes_and_goes_is_told_as_seldom() {
        let mut trouble = Trouble::new("no answer", 1000);
        assert!(trouble.is_over(1060) && !trouble.is_over(1120));
        for time in (1180..4600).step_by(120) {
            assert!(!trouble.is_met("no answer", time), "{time}");
            assert_eq!((trouble.since, trouble.over), (time, None));
            assert!(!trouble.is_over(time + 60), "{time}");
        }
        assert!(trouble.is_met("no answer", 4660) && trouble.is_over(4720));
    }
}
