//! A running stand-in and what tests do with it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::api::App;
use crate::clock::Clock;
use crate::control::{
    ControlError, add_member, add_project, add_root, add_runner, add_token, add_user, change_settings,
    enqueue_job, job_view, plant, start_pipeline, state_view,
};
use crate::lifecycle::cancel;
use crate::model::State;
use crate::options::Options;
use crate::server::serve;
use crate::sweeps::advance;
use crate::tls::{TlsError, self_signed};

/// Why a stand-in could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot make the state directory")]
    StateDir { source: io::Error },
    #[error("cannot start the server's thread")]
    Thread { source: io::Error },
    #[error("cannot make the certificate")]
    Tls { source: TlsError },
    #[error("cannot read the seed")]
    Seed { source: serde_json::Error },
    #[error("cannot plant the seed: {reason}")]
    Plant { reason: String },
}

/// A GitLab stand-in on a thread of its own; it ends when this value is dropped.
///
/// Methods that take JSON take what the control API takes, and panic on what it refuses: they are for tests.
#[derive(Debug)]
pub struct StandIn {
    app: App,
    address: SocketAddr,
    url: String,
    root_token: String,
    certificate: Option<String>,
    state_dir: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _temporary: Option<TempDir>,
}

impl StandIn {
    /// Starts a server and returns when it answers.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let (state_dir, temporary) = state_dir(&options).map_err(|source| StartError::StateDir { source })?;
        let (tls, certificate) = if options.tls {
            let (acceptor, pem) = self_signed().map_err(|source| StartError::Tls { source })?;
            (Some(acceptor), Some(pem))
        } else {
            (None, None)
        };
        let scheme = if options.tls { "https" } else { "http" };
        let url = options.external_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
        let url = url.trim_end_matches('/').to_owned();
        let mut state = State::new(url.clone(), state_dir.clone(), Clock::real());
        if options.frozen_clock {
            state.clock.freeze();
        }
        let root_token = add_root(&mut state);
        if let Some(seed) = &options.seed {
            let seed = serde_json::from_str(seed).map_err(|source| StartError::Seed { source })?;
            plant(&mut state, &seed).map_err(|error| StartError::Plant { reason: error.to_string() })?;
        }
        let app = App::new(state);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|source| StartError::Thread { source })?;
        let served = app.clone();
        let work = move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                serve(listener, served, tls, async { drop(stopped.await) }).await
            })
        };
        let thread = thread::Builder::new().name("gitlab-stand-in".to_owned()).spawn(move || {
            if let Err(error) = work() {
                eprintln!("gitlab-stand-in: {error}");
            }
        });
        let thread = Some(thread.map_err(|source| StartError::Thread { source })?);
        let stop = Some(stop);
        Ok(Self {
            app,
            address,
            url,
            root_token,
            certificate,
            state_dir,
            stop,
            thread,
            _temporary: temporary,
        })
    }

    /// The URL without a slash at the end, as a client's configuration has it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens, whatever its URL says.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A token of the administrator `root` with all rights.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// The self-signed certificate as PEM, if TLS is on.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Where the repositories live, as `repositories/<path>.git`.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Adds an ordinary user.
    pub fn add_user(&self, username: &str) {
        let new = from_json(json!({ "username": username }));
        expect(add_user(&mut self.app.lock(), &new));
    }

    /// Adds a private project `group/project` without a repository, with a protected `main`; returns its id.
    pub fn add_project(&self, path: &str) -> i64 {
        self.add_project_with(json!({ "path": path }))
    }

    /// Adds a project as the control API does: `path`, `repository`, `protected_refs`, `variables`...
    pub fn add_project_with(&self, spec: Value) -> i64 {
        expect(add_project(&mut self.app.lock(), &from_json(spec)))
    }

    /// Gives a user a role (`maintainer`, `owner`...) in a project or group.
    pub fn add_member(&self, user: &str, path: &str, role: &str) {
        let new = from_json(json!({ "user": user, "path": path, "role": role }));
        expect(add_member(&mut self.app.lock(), &new));
    }

    /// Makes a token of a user with these scopes; returns the secret.
    pub fn user_token(&self, user: &str, scopes: &[&str]) -> String {
        self.create_token(json!({ "user": user, "scopes": scopes }))
    }

    /// Makes a project token with the role Maintainer and these scopes; returns the secret.
    pub fn project_token(&self, project: &str, scopes: &[&str]) -> String {
        self.create_token(json!({ "project": project, "scopes": scopes }))
    }

    /// Makes a token as the control API does: `user`, `project` or `group`, `role`, `scopes`, `expires_in`.
    pub fn create_token(&self, spec: Value) -> String {
        expect(add_token(&mut self.app.lock(), &from_json(spec)))
    }

    /// Makes a runner as the control API does (`path`, `tags`, `run_untagged`...); returns id and token.
    pub fn add_runner(&self, spec: Value) -> (i64, String) {
        let made = expect(add_runner(&mut self.app.lock(), &from_json(spec)));
        (made["id"].as_i64().unwrap_or_default(), made["token"].as_str().unwrap_or_default().to_owned())
    }

    /// Adds a pending job on `main`; `job` has the keys of a job in `.gitlab-ci.yml`. Returns its id.
    pub fn enqueue(&self, project: &str, job: Value) -> i64 {
        self.enqueue_with(json!({ "project": project, "job": job }))
    }

    /// Adds a job as the control API does: `project`, `ref`, `name`, `job`.
    pub fn enqueue_with(&self, spec: Value) -> i64 {
        expect(enqueue_job(&mut self.app.lock(), &from_json(spec)))
    }

    /// Starts a pipeline from the text of a `.gitlab-ci.yml`, without a repository; returns its id.
    pub fn start_pipeline(&self, project: &str, yaml: &str) -> i64 {
        self.start_pipeline_with(json!({ "project": project, "yaml": yaml }))
    }

    /// Starts a pipeline as the control API does: `project`, `yaml`, `ref`, `variables`, `repository`. Returns its id.
    pub fn start_pipeline_with(&self, spec: Value) -> i64 {
        expect(start_pipeline(&mut self.app.lock(), &from_json(spec)))
    }

    /// The jobs of a pipeline that count, as [`Self::job`] shows them, in the order of their stages.
    pub fn jobs_of_pipeline(&self, id: i64) -> Vec<Value> {
        let state = self.app.lock();
        state.jobs_of(id).filter(|job| !job.retried).map(|job| job_view(&state, job)).collect()
    }

    /// Cancels a job as a user does; by force it does not wait for its runner.
    pub fn cancel_job(&self, id: i64, force: bool) {
        cancel(&mut self.app.lock(), id, force);
    }

    /// Moves the clock by `seconds`; claims and jobs end at their time on the way.
    pub fn advance(&self, seconds: i64) {
        advance(&mut self.app.lock(), seconds);
    }

    /// Adds a fault as the control API does: `route`, `times`, `answer`...
    pub fn add_fault(&self, spec: Value) {
        self.app.lock().faults.push(from_json(spec));
    }

    /// Replaces the settings that `changes` names.
    pub fn change_settings(&self, changes: Value) {
        expect(change_settings(&mut self.app.lock(), &changes));
    }

    /// One job as the control API shows it: `status`, `failure_reason`, `exit_code`, `runner_id`, `trace`...
    pub fn job(&self, id: i64) -> Value {
        let state = self.app.lock();
        state.jobs.get(&id).map_or(Value::Null, |job| job_view(&state, job))
    }

    /// The whole server as the control API shows it.
    pub fn state(&self) -> Value {
        state_view(&self.app.lock())
    }

    /// All requests so far: `at`, `who`, `method`, `path`, `route`, `status`.
    pub fn requests(&self) -> Vec<Value> {
        self.app.lock().ledger.records().map(|record| json!(record)).collect()
    }

    /// `{caller: {"GET /api/v4/...": {total, this_minute, busiest_minute}}}`.
    pub fn counters(&self) -> Value {
        let state = self.app.lock();
        json!(state.ledger.counts(state.now()))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the server's thread has been printed already.
            drop(thread.join());
        }
    }
}

fn state_dir(options: &Options) -> io::Result<(PathBuf, Option<TempDir>)> {
    if let Some(path) = &options.state_dir {
        std::fs::create_dir_all(path)?;
        return Ok((path.clone(), None));
    }
    let temporary = TempDir::with_prefix("gitlab-stand-in-")?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

fn from_json<T: serde::de::DeserializeOwned>(spec: Value) -> T {
    serde_json::from_value(spec).unwrap_or_else(|error| panic!("the stand-in cannot read this: {error}"))
}

fn expect<T>(result: Result<T, ControlError>) -> T {
    result.unwrap_or_else(|error| panic!("the stand-in refuses this: {error}"))
}
