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

/// Filled by rows and other tests as they run, at whatever thread.
#[derive(Debug, Default)]
pub struct Results {
    found: Mutex<BTreeMap<(&'static str, &'static str), State>>,
    /// Of tests that are no rows, by their full names.
    tests: Mutex<BTreeMap<String, State>>,
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

    /// Runs a test that is no row, and notes whether it panics.
    pub fn note_test(&self, name: &str, test: impl FnOnce()) {
        let set = |state| {
            let mut tests = self.tests.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            tests.insert(name.to_owned(), state);
        };
        set(State::Fails);
        test();
        set(State::Holds);
    }

    /// What came of all tests of these names at a level. Those without a level count for each.
    fn of_tests(&self, names: &[&str], level: &str) -> Option<State> {
        let tests = self.tests.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let state = |name: &&str| tests.get(&format!("{name} (level {level})")).or_else(|| tests.get(*name));
        let states: Option<Vec<&State>> = names.iter().map(state).collect();
        let fails = |states: Vec<&State>| states.contains(&&State::Fails);
        states.map(|states| if fails(states) { State::Fails } else { State::Holds })
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
        let mut table = Table::new(["row", "level A", "level B", "level C", "result", "reason"]);
        for row in rows {
            let states = LEVELS.map(|level| match row.proof {
                Proof::Tests(names) => self.of_tests(names, level),
                _ => found.get(&(row.name, level)).cloned(),
            });
            let (cells, result, reason) = match row.proof {
                Proof::Never(reason) => (LEVELS.map(|_| "-"), "not applicable", reason.to_owned()),
                _ if states.iter().all(Option::is_none) => continue,
                _ => cells_of(row, states),
            };
            let [a, b, c] = cells;
            table.row([row.name, a, b, c, result, &reason]);
        }
        Some(table)
    }
}

fn cells_of(
    row: &Row,
    states: [Option<State>; LEVELS.len()],
) -> ([&'static str; LEVELS.len()], &'static str, String) {
    let mut cells = states.each_ref().map(|state| match state {
        Some(State::Holds) => "yes",
        Some(State::Fails) => "NO",
        Some(State::Skipped(_)) => "skipped",
        None => "not run",
    });
    let mut reason = states.into_iter().find_map(|state| match state {
        Some(State::Skipped(reason)) => Some(reason),
        _ => None,
    });
    if let [.., level_c] = &mut cells
        && !row.except_c.is_empty()
    {
        *level_c = "-";
        reason.get_or_insert_with(|| format!("level C: {}", row.except_c));
    }
    let result = if cells.contains(&"NO") {
        "DIFFERS"
    } else if cells.iter().all(|cell| matches!(*cell, "yes" | "-")) {
        "as docker"
    } else {
        "not shown"
    };
    (cells, result, reason.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Results;
    use crate::parity::{LEVELS, Row};

    #[test]
    fn a_row_may_be_shown_by_other_tests() {
        let results = Results::default();
        for level in LEVELS {
            results.note_test(&format!("one (level {level})"), || ());
        }
        results.note_test("two", || ());
        let rows = [Row::tests("row", &["one", "two"]), Row::tests("other", &["one", "not run"])];
        // A row must have run for the table to be printed.
        results.note("row of another kind", "A", || Ok(())).expect("it holds");
        let table = results.table(&rows).expect("rows were proven").to_string();
        assert!(table.contains("as docker") && !table.contains("other"), "{table}");
    }

    #[test]
    fn a_row_is_as_docker_only_if_every_level_says_so() {
        let results = Results::default();
        let rows = ["both", "one", "panics", "no c"].map(|name| Row::cases(name, &[]));
        let rows = rows.map(|row| if row.name == "no c" { row.except_at_c("no user") } else { row });
        for level in LEVELS {
            results.note("both", level, || Ok(())).expect("it holds");
        }
        results.note("one", "A", || Ok(())).expect("it holds");
        results.note("one", "B", || Err("no range of ids".to_owned())).expect_err("it is skipped");
        let panic = || results.note("panics", "A", || panic!("on purpose"));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panic)).expect_err("it panics");
        for level in ["A", "B"] {
            results.note("no c", level, || Ok(())).expect("it holds");
        }
        let table = results.table(&rows).expect("rows were proven").to_string();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[1], ["both", "yes", "yes", "yes", "as docker"]);
        assert_eq!(lines[2], ["one", "yes", "skipped", "not run", "not shown", "no range of ids"]);
        assert_eq!(lines[3], ["panics", "NO", "not run", "not run", "DIFFERS"]);
        assert_eq!(lines[4], ["no c", "yes", "yes", "-", "as docker", "level C: no user"]);
    }
}
