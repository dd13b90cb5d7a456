//! The suites that need the bed: real Slurm, real Apptainer, a real registry. `cargo xtask test` runs them there.

#![expect(
    clippy::disallowed_methods,
    reason = "tests are at the edge: they start programs and read their surroundings"
)]

mod barriers;
mod clients;
mod configure;
mod demo;
mod directories;
mod endings;
mod entrypoints;
mod grid_engine;
mod helper;
mod image_forms;
mod images;
mod inside;
mod launcher;
mod launcher_rough;
mod mounts;
mod network;
mod parity;
mod pipelines;
mod plain;
mod podman;
mod privileges;
mod registries;
mod services;
mod services_endings;
mod store;
mod surroundings;

use std::process::ExitCode;
use std::sync::Arc;

use end_to_end::bed::{self, Here};
use libtest_mimic::{Arguments, Completion, Trial};

/// A test by its name.
type Test = (&'static str, fn());

/// A test at an isolation level: `level = "A"` in `[executor]`.
type LevelTest = (&'static str, fn(&str));

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The bed has two cores; jobs there start many processes.
    arguments.test_threads.get_or_insert(4);
    let here = bed::here();
    if here == Here::BeforeTheBed {
        return ExitCode::SUCCESS;
    }
    let parity = Arc::new(parity::Suite::default());
    let trial = |name: String, test: Box<dyn FnOnce() + Send>| {
        let parity = Arc::clone(&parity);
        Trial::ignorable_test(name.clone(), move || {
            if here == Here::Host {
                return Ok(Completion::ignored_with("needs the bed: cargo xtask test"));
            }
            parity.note_test(&name, test);
            Ok(Completion::Completed)
        })
    };
    let plain = images::TESTS
        .iter()
        .chain(image_forms::TESTS)
        .chain(registries::TESTS)
        .chain(store::TESTS)
        .chain(pipelines::TESTS)
        .chain(helper::TESTS)
        .chain(plain::TESTS)
        .chain(configure::TESTS)
        .chain(clients::TESTS)
        .chain(demo::TESTS)
        .chain(privileges::TESTS)
        .chain(services_endings::TESTS_AT_A)
        .chain(parity::TESTS)
        .chain(launcher::TESTS)
        .chain(launcher_rough::TESTS)
        .chain(grid_engine::TESTS)
        .map(|&(name, test)| trial(name.to_owned(), Box::new(test)));
    let levels = [inside::TESTS, entrypoints::TESTS, surroundings::TESTS, mounts::TESTS]
        .into_iter()
        .chain([directories::TESTS, endings::TESTS, network::TESTS])
        .chain([barriers::TESTS, services::TESTS, services_endings::TESTS])
        .flatten()
        .flat_map(|&(name, test)| {
            ["A", "B"].map(|level| trial(format!("{name} (level {level})"), Box::new(move || test(level))))
        });
    let rows = parity::trials(&parity, here);
    let conclusion = libtest_mimic::run(&arguments, plain.chain(levels).chain(rows).collect());
    parity.print();
    conclusion.exit_code()
}
