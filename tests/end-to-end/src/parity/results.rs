//! What came of the rows, as the table.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use plain_table::Table;

use super::{LEVELS, Proof, Row};

/// The state of a row at a level.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Until the proof is through: a panic leaves it so.
    Fails,
    Holds,
    Skipped(String),
}

/// Filled by the rows as they are proven, at whatever thread.
#[derive(Debug, Default)]
pub struct Results {
    found: Mutex<BTreeMap<(&'static str, &'static str), State>>,
}

impl Results {
    /// Runs `proof` and notes what came of it: a panic is a failure, an error the reason for a skip.
    pub fn note(
        &self,
        row: &'static str,
        level: &'static str,
        proof: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        self.set(row, level, State::Fails);
        let result = proof();
        let state = match &result {
            Ok(()) => State::Holds,
            Err(reason) => State::Skipped(reason.clone()),
        };
        self.set(row, level, state);
        result
    }

    fn set(&self, row: &'static str, level: &'static str, state: State) {
        self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert((row, level), state);
    }

    /// The table of `rows`, if any of them was proven (a filter may have left them all out).
    pub fn table(&self, rows: &[Row]) -> Option<impl fmt::Display> {
        let found = self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if found.is_empty() {
            return None;
        }
        let mut table = Table::new(["row", "level A", "level B", "result", "reason"]);
        for row in rows {
            let states = LEVELS.map(|level| found.get(&(row.name, level)));
            let (cells, result, reason) = match row.proof {
                Proof::Never(reason) => (LEVELS.map(|_| "-"), "not applicable", reason.to_owned()),
                _ if states.iter().all(Option::is_none) => continue,
                _ => cells_of(states),
            };
            let [a, b] = cells;
            table.row([row.name, a, b, result, &reason]);
        }
        Some(table)
    }
}

fn cells_of(states: [Option<&State>; LEVELS.len()]) -> ([&'static str; LEVELS.len()], &'static str, String) {
    let cells = states.map(|state| match state {
        Some(State::Holds) => "yes",
        Some(State::Fails) => "NO",
        Some(State::Skipped(_)) => "skipped",
        None => "not run",
    });
    let reason = states.iter().find_map(|state| match state {
        Some(State::Skipped(reason)) => Some(reason.clone()),
        _ => None,
    });
    let result = if cells.contains(&"NO") {
        "DIFFERS"
    } else if cells.iter().all(|cell| *cell == "yes") {
        "as docker"
    } else {
        "not shown"
    };
    (cells, result, reason.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Results;
    use crate::parity::{Proof, Row};

    #[test]
    fn a_row_is_as_docker_only_if_every_level_says_so() {
        let results = Results::default();
        let rows = ["both", "one", "panics"].map(|name| Row { name, proof: Proof::Cases(&[]) });
        for level in ["A", "B"] {
            results.note("both", level, || Ok(())).expect("it holds");
        }
        results.note("one", "A", || Ok(())).expect("it holds");
        results.note("one", "B", || Err("no range of ids".to_owned())).expect_err("it is skipped");
        let panic = || results.note("panics", "A", || panic!("on purpose"));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panic)).expect_err("it panics");
        let table = results.table(&rows).expect("rows were proven").to_string();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[1], ["both", "yes", "yes", "as docker"]);
        assert_eq!(lines[2], ["one", "yes", "skipped", "not shown", "no range of ids"]);
        assert_eq!(lines[3], ["panics", "NO", "not run", "DIFFERS"]);
    }
}
