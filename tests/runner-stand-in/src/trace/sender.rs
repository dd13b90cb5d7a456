//! Ships the job log every few seconds, keeps the job alive, and hears of cancellation in the answers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::build::failure::Reason;
use crate::gitlab::trace::PatchState;
use crate::gitlab::update::{JobState, Update, UpdateState};
use crate::gitlab::{Client, JobCredentials};
use crate::runner_log;
use crate::scope::Scope;
use crate::trace::buffer::Buffer;

const UPDATE_INTERVAL: Duration = Duration::from_secs(3);
const MAX_UPDATE_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Without any sent log for that long, a status call keeps the job alive.
const FORCE_SEND_INTERVAL: Duration = Duration::from_secs(30);
const MAX_PATCH: usize = 1024 * 1024;
const FINAL_RETRY_MAX: Duration = Duration::from_secs(60 * 60);

/// One job's connection to GitLab. Started by [`start`], ended by [`Sender::success`], [`Sender::fail`] or
/// [`Sender::finish`].
#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
    watcher: Mutex<Option<std::thread::JoinHandle<()>>>,
    final_retries: u32,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    job: JobCredentials,
    debug: bool,
    buffer: Arc<Buffer>,
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Debug)]
struct State {
    job_state: JobState,
    failure_reason: Option<String>,
    exit_code: i32,
    /// Cancelled when GitLab says `canceling`: the script only, once it runs.
    cancel: Option<Scope>,
    /// Cancelled when the job is lost: everything.
    abort: Option<Scope>,
    sent: usize,
    /// Never sent anything yet: none.
    sent_at: Option<Instant>,
    interval: Duration,
    finished: bool,
}

pub(crate) fn start(
    client: Client,
    job: JobCredentials,
    buffer: Arc<Buffer>,
    debug: bool,
    final_retries: u32,
) -> Sender {
    let state = State {
        job_state: JobState::Running,
        failure_reason: None,
        exit_code: 0,
        cancel: None,
        abort: None,
        sent: 0,
        sent_at: None,
        interval: UPDATE_INTERVAL,
        finished: false,
    };
    let shared = Shared { client, job, debug, buffer, state: Mutex::new(state), finished: Condvar::new() };
    let shared = Arc::new(shared);
    let watched = Arc::clone(&shared);
    let watcher = std::thread::spawn(move || watched.watch());
    Sender {
        shared,
        watcher: Mutex::new(Some(watcher)),
        final_retries: if final_retries == 0 { 10 } else { final_retries },
    }
}

impl Sender {
    /// What a cancellation by GitLab ends from now on, and what the loss of the job ends.
    pub(crate) fn on_cancel(&self, scope: &Scope) {
        self.shared.lock().cancel = Some(scope.clone());
    }

    pub(crate) fn on_abort(&self, scope: &Scope) {
        self.shared.lock().abort = Some(scope.clone());
    }

    /// Reports success, unless the job has ended already.
    pub(crate) fn success(&self) {
        {
            let mut state = self.shared.lock();
            if state.job_state != JobState::Running {
                return;
            }
            state.job_state = JobState::Success;
        }
        self.end_with_update("Success");
    }

    /// Reports failure. `reason` is what goes on the wire; no exit code is 0.
    pub(crate) fn fail(&self, reason: &Reason, exit_code: i32) {
        {
            let mut state = self.shared.lock();
            if state.job_state != JobState::Running {
                return;
            }
            state.job_state = JobState::Failed;
            state.failure_reason = Some(reason.to_string());
            state.exit_code = exit_code;
        }
        self.end_with_update("Fail");
    }

    /// Ends without telling GitLab anything: the job is no longer ours.
    pub(crate) fn finish(&self) {
        self.shared.lock().job_state = JobState::Failed;
        self.stop_watching();
    }

    fn stop_watching(&self) {
        self.shared.buffer.finish();
        self.shared.lock().finished = true;
        self.shared.finished.notify_all();
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watcher) = watcher {
            // A panic in there has been printed; the final update is worth trying all the same.
            let _ = watcher.join();
        }
    }

    fn end_with_update(&self, name: &str) {
        self.stop_watching();
        let mut pause = Duration::from_secs(1);
        for attempt in 1..=self.final_retries {
            if self.shared.final_update() {
                return;
            }
            if attempt < self.final_retries {
                std::thread::sleep(pause);
                pause = (pause * 2).min(FINAL_RETRY_MAX);
            }
        }
        runner_log::error(format!("Job trace termination \"{name}\" failed"));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        loop {
            let state = self.lock();
            let interval = state.interval;
            let waited = self.finished.wait_timeout_while(state, interval, |state| !state.finished);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.finished {
                return;
            }
            drop(state);
            if !self.incremental_update() {
                return;
            }
        }
    }

    /// Returns whether the job is still ours.
    fn incremental_update(&self) -> bool {
        let (patch, cancel) = self.send_patch();
        if cancel {
            self.cancel();
        }
        match patch {
            PatchState::Succeeded => {
                let (update, cancel) = self.touch();
                if cancel {
                    self.cancel();
                }
                if update == UpdateState::Abort {
                    self.abort();
                    return false;
                }
                true
            }
            PatchState::Abort => {
                self.abort();
                false
            }
            _ => true,
        }
    }

    fn cancel(&self) {
        if let Some(scope) = self.lock().cancel.take() {
            scope.cancel();
        }
    }

    fn abort(&self) {
        let mut state = self.lock();
        state.cancel = None;
        if let Some(scope) = state.abort.take() {
            scope.cancel();
        }
    }

    /// Sends one chunk of what is new. Returns the outcome and whether a cancellation is wanted.
    fn send_patch(&self) -> (PatchState, bool) {
        let sent = self.lock().sent;
        let chunk = self.buffer.bytes(sent, MAX_PATCH);
        if chunk.is_empty() {
            return (PatchState::Succeeded, false);
        }
        let answer = self.client.patch_trace(&self.job, &chunk, sent, self.debug);
        let mut state = self.lock();
        state.set_interval(answer.interval);
        if matches!(answer.state, PatchState::Succeeded | PatchState::RangeMismatch) {
            state.sent = answer.offset;
            state.sent_at = Some(Instant::now());
        }
        (answer.state, answer.cancel)
    }

    /// Keeps the job alive where no log has been sent for a while; the first time at once.
    fn touch(&self) -> (UpdateState, bool) {
        if self.lock().sent_at.is_some_and(|at| at.elapsed() <= FORCE_SEND_INTERVAL) {
            return (UpdateState::Succeeded, false);
        }
        let answer = self.client.update_job(&self.job, &self.update(JobState::Running));
        let mut state = self.lock();
        state.set_interval(answer.interval);
        if answer.state == UpdateState::Succeeded {
            state.sent_at = Some(Instant::now());
        }
        (answer.state, answer.cancel)
    }

    fn update(&self, job_state: JobState) -> Update {
        let state = self.lock();
        Update {
            state: job_state,
            failure_reason: state.failure_reason.clone(),
            checksum: self.buffer.checksum(),
            bytesize: self.buffer.size(),
            exit_code: state.exit_code,
        }
    }

    /// Sends the rest of the log and the final state, again as long as GitLab is not done. False: try again later.
    fn final_update(&self) -> bool {
        self.lock().interval = UPDATE_INTERVAL;
        loop {
            if !self.send_all() {
                return false;
            }
            let job_state = self.lock().job_state;
            let answer = self.client.update_job(&self.job, &self.update(job_state));
            let pause = {
                let mut state = self.lock();
                state.set_interval(answer.interval);
                state.interval
            };
            match answer.state {
                UpdateState::Succeeded | UpdateState::Abort => return true,
                UpdateState::AcceptedButNotCompleted => std::thread::sleep(pause),
                UpdateState::TraceValidationFailed => {
                    self.lock().sent = 0;
                    std::thread::sleep(pause);
                }
                UpdateState::Failed => {
                    std::thread::sleep(pause);
                    return false;
                }
            }
        }
    }

    fn send_all(&self) -> bool {
        while self.buffer.size() != self.lock().sent {
            let interval = self.lock().interval;
            match self.send_patch().0 {
                PatchState::Succeeded => {}
                PatchState::Abort | PatchState::NotFound => return true,
                PatchState::RangeMismatch => std::thread::sleep(interval),
                PatchState::Failed => {
                    std::thread::sleep(interval);
                    return false;
                }
            }
        }
        true
    }
}

impl State {
    fn set_interval(&mut self, interval: Option<Duration>) {
        if let Some(interval) = interval.filter(|interval| !interval.is_zero()) {
            self.interval = interval.min(MAX_UPDATE_INTERVAL);
        }
    }
}
