//! What was asked of the server, by whom, and how much of it in a minute.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::clock::{Time, iso};

/// How many requests are remembered one by one; the counters have no limit.
const REMEMBERED: usize = 20_000;

/// One answered (or dropped) request.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    pub(crate) at: String,
    /// User name, `runner N`, `job N` or `anonymous`.
    pub(crate) who: String,
    pub(crate) method: String,
    /// Raw path and query.
    pub(crate) path: String,
    /// The route's pattern, such as `/api/v4/projects/{id}/jobs`.
    pub(crate) route: String,
    /// 0 if the connection was dropped.
    pub(crate) status: u16,
}

/// Counts of one caller on one route.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Count {
    pub(crate) total: u64,
    pub(crate) this_minute: u64,
    pub(crate) busiest_minute: u64,
    #[serde(skip)]
    minute: i64,
}

/// All requests since the start.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    records: VecDeque<Record>,
    counts: BTreeMap<(String, String), Count>,
    limits: BTreeMap<(&'static str, String), Count>,
}

impl Ledger {
    /// Remembers one request.
    pub(crate) fn record(&mut self, now: Time, mut record: Record) {
        record.at = iso(now);
        let key = (record.who.clone(), format!("{} {}", record.method, record.route));
        self.counts.entry(key).or_default().add(now);
        if self.records.len() == REMEMBERED {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// Counts one use of a limit by `key` and returns how many there were in this minute, this one included.
    pub(crate) fn use_limit(&mut self, now: Time, limit: &'static str, key: &str) -> u64 {
        let count = self.limits.entry((limit, key.to_owned())).or_default();
        count.add(now);
        count.this_minute
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// `{caller: {"GET /api/v4/...": {total, this_minute, busiest_minute}}}`, as of `now`.
    pub(crate) fn counts(&self, now: Time) -> BTreeMap<&str, BTreeMap<&str, Count>> {
        let mut table: BTreeMap<&str, BTreeMap<&str, Count>> = BTreeMap::new();
        for ((who, route), count) in &self.counts {
            let mut count = count.clone();
            if count.minute != minute_of(now) {
                count.this_minute = 0;
            }
            table.entry(who).or_default().insert(route, count);
        }
        table
    }

    /// Forgets all requests, but not the use of limits.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.counts.clear();
    }
}

impl Count {
    fn add(&mut self, now: Time) {
        if self.minute != minute_of(now) {
            self.minute = minute_of(now);
            self.this_minute = 0;
        }
        self.total += 1;
        self.this_minute += 1;
        self.busiest_minute = self.busiest_minute.max(self.this_minute);
    }
}

fn minute_of(time: Time) -> i64 {
    time.as_second().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::seconds;

    #[test]
    fn minutes_are_counted_apart() {
        let mut ledger = Ledger::default();
        let start = Time::UNIX_EPOCH + seconds(1_795_478_340);
        assert_eq!(ledger.use_limit(start, "jobs", "ada"), 1);
        assert_eq!(ledger.use_limit(start + seconds(59), "jobs", "ada"), 2);
        assert_eq!(ledger.use_limit(start + seconds(59), "jobs", "bob"), 1);
        assert_eq!(ledger.use_limit(start + seconds(60), "jobs", "ada"), 1);
    }
}
