//! Rows as data.

use super::place::Place;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name of gitlab-runner's test, or what the row is about.
    pub name: &'static str,
    pub proof: Proof,
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
        Self { name, proof: Proof::Cases(cases) }
    }

    pub const fn play(name: &'static str, play: fn(&Place)) -> Self {
        Self { name, proof: Proof::Play(play) }
    }

    pub const fn play_real(name: &'static str, lacks: &'static str, play: fn(&Place)) -> Self {
        Self { name, proof: Proof::PlayReal(play, lacks) }
    }

    pub const fn never(name: &'static str, reason: &'static str) -> Self {
        Self { name, proof: Proof::Never(reason) }
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
