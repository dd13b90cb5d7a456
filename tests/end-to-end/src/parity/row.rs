//! Rows as data.

use super::place::Place;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name of gitlab-runner's test, or what the row is about.
    pub name: &'static str,
    pub proof: Proof,
    /// Why level C, where a job has neither namespaces nor another user, is excepted. Empty: it is not.
    pub except_c: &'static str,
}

/// How a row is proven.
#[derive(Clone, Copy, Debug)]
pub enum Proof {
    /// Jobs and what must come of them.
    Cases(&'static [Case]),
    /// What takes more than a job: several pipelines, a cancel, another configuration.
    Play(fn(&Place)),
    /// The same, where the gitlab-runner stand-in is known to lack something that it needs.
    PlayReal(fn(&Place), &'static str),
    /// Other tests of the suite, by their names without the level.
    Tests(&'static [&'static str]),
    /// Docker's alone. The user guide says what to do instead; here is why.
    Never(&'static str),
}

/// One job.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The keys of a job in `.gitlab-ci.yml`. `registry/` stands for the bed's registry; without `image` it runs in busybox.
    pub job: &'static str,
    pub expect: &'static [Expect],
}

/// What must come of a job.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    Passes,
    /// Ends as `script_failure` with this exit code.
    Fails(i64),
    /// Ends as failed with this reason.
    FailsAs(&'static str),
    /// A whole line of the log, without its time stamp and colours.
    Says(&'static str),
    /// A part of the log.
    Shows(&'static str),
    /// No part of the log.
    Hides(&'static str),
}

impl Row {
    /// A row that jobs prove.
    pub const fn cases(name: &'static str, cases: &'static [Case]) -> Self {
        Self { name, proof: Proof::Cases(cases), except_c: "" }
    }

    pub const fn play(name: &'static str, play: fn(&Place)) -> Self {
        Self { name, proof: Proof::Play(play), except_c: "" }
    }

    pub const fn play_real(name: &'static str, lacks: &'static str, play: fn(&Place)) -> Self {
        Self { name, proof: Proof::PlayReal(play, lacks), except_c: "" }
    }

    pub const fn tests(name: &'static str, tests: &'static [&'static str]) -> Self {
        Self { name, proof: Proof::Tests(tests), except_c: "" }
    }

    /// The same row, without level C.
    pub const fn except_at_c(self, reason: &'static str) -> Self {
        Self { except_c: reason, ..self }
    }

    pub const fn never(name: &'static str, reason: &'static str) -> Self {
        Self { name, proof: Proof::Never(reason), except_c: "" }
    }
}

impl Case {
    /// Runs the job. Panics with its log where something else came of it.
    pub fn prove(&self, place: &Place) {
        let mut ran = place.job(self.job);
        for expect in self.expect {
            ran = match *expect {
                Expect::Passes => ran.passes(),
                Expect::Fails(code) => ran.fails(code),
                Expect::FailsAs(reason) => ran.fails_as(reason),
                Expect::Says(line) => ran.says(line),
                Expect::Shows(text) => ran.shows(text),
                Expect::Hides(text) => ran.hides(text),
            };
        }
    }
}
