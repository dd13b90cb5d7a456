//! The parity suite: each row of gitlab-runner's docker executor tests, asked of ours by real jobs at every level.
//!
//! A file per group of rows. `cargo xtask test` runs them with the rest of the bed's suite, and ends in their table.

mod artifacts;
mod cache;
mod differences;
mod docker_only;
mod endings;
mod images;
mod judge;
mod scripts;
mod services;
mod sources;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use end_to_end::bed::Here;
use end_to_end::parity::{LEVELS, Place, Proof, Results, Rig, Row};
use end_to_end::runner;
use gitlab_stand_in::Options;
use libtest_mimic::{Completion, Trial};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[("parity: what cannot be done is in the user guide", user_guide)];

/// Why rows are not asked at level C.
const ONE_USER: &str = "every job is the node's user";

/// What the rows share: a GitLab and a site per level, made when the first row needs them, and what came of the rows.
#[derive(Debug, Default)]
pub(crate) struct Suite {
    rigs: [OnceLock<Arc<Rig>>; LEVELS.len()],
    results: Results,
}

/// All rows, in the order of the table.
fn rows() -> Vec<Row> {
    let groups = [
        scripts::ROWS,
        sources::ROWS,
        cache::ROWS,
        artifacts::ROWS,
        images::ROWS,
        judge::ROWS,
        endings::ROWS,
        services::ROWS,
        docker_only::ROWS,
    ];
    groups.concat()
}

/// A trial per level for each row that jobs can prove.
pub(crate) fn trials(suite: &Arc<Suite>, here: Here) -> Vec<Trial> {
    let of_row = |row: Row| {
        let excepted = move |level: &str| level == "C" && !row.except_c.is_empty();
        LEVELS.iter().enumerate().filter(move |(_, level)| !excepted(level)).map(move |(index, level)| {
            let suite = Arc::clone(suite);
            Trial::ignorable_test(format!("parity: {} (level {level})", row.name), move || {
                if here == Here::Host {
                    return Ok(Completion::ignored_with("needs the bed: cargo xtask test"));
                }
                Ok(match suite.prove(&row, index) {
                    Ok(()) => Completion::Completed,
                    Err(reason) => Completion::ignored_with(reason),
                })
            })
        })
    };
    let has_jobs = |row: &Row| !matches!(row.proof, Proof::Never(_) | Proof::Tests(_));
    rows().into_iter().filter(has_jobs).flat_map(of_row).collect()
}

impl Suite {
    /// Proves a row at the level with this index, in a project of its own. The error is why it was not tried.
    fn prove(&self, row: &Row, level: usize) -> Result<(), String> {
        let rig = self.rigs[level].get_or_init(|| Arc::new(Rig::new(LEVELS[level], "", Options::default())));
        let place = Place::new(Arc::clone(rig));
        self.results.note(row.name, LEVELS[level], || match row.proof {
            Proof::Cases(cases) => {
                cases.iter().for_each(|case| case.prove(&place));
                Ok(())
            }
            Proof::PlayReal(_, lacks) if !runner::is_real() => {
                Err(format!("the gitlab-runner stand-in lacks {lacks}"))
            }
            Proof::Play(play) | Proof::PlayReal(play, _) => {
                play(&place);
                Ok(())
            }
            Proof::Tests(_) => Err("other tests show it".to_owned()),
            Proof::Never(reason) => Err(reason.to_owned()),
        })
    }

    /// Runs a test that is no row; rows may refer to it.
    pub(crate) fn note_test(&self, name: &str, test: impl FnOnce()) {
        self.results.note_test(name, test);
    }

    /// Prints the table, unless a filter left all rows out.
    pub(crate) fn print(&self) {
        if let Some(table) = self.results.table(&rows()) {
            let runner =
                if runner::is_real() { "the real gitlab-runner" } else { "the gitlab-runner stand-in" };
            println!("parity with gitlab-runner's docker executor, by jobs through {runner}\n\n{table}");
        }
    }
}

/// A row's name is the word to search for.
fn user_guide() {
    let guide = include_str!("../../../../../docs/user-guide.md");
    let mut names = BTreeSet::new();
    for row in rows() {
        assert!(names.insert(row.name), "`{}` is there twice", row.name);
        let never = matches!(row.proof, Proof::Never(_));
        assert!(!never || guide.contains(row.name), "`{}` is not in the user guide", row.name);
    }
}
