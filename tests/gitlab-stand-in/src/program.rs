//! The program around a stand-in: says where it is, and ends when it is told.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::Options;
use crate::stand_in::{StandIn, StartError};

/// Plays GitLab in tests and the demo.
///
/// Prints one line of JSON when it is ready: url, control (URL of the control API), token (of the administrator root),
/// state_dir, certificate (path, with --tls).
#[derive(Debug, Parser)]
#[command(name = "gitlab-stand-in", version)]
pub struct Args {
    /// Where repositories live; made if missing.
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The URL that answers and jobs show, if it is another one.
    #[arg(long, value_name = "URL")]
    external_url: Option<String>,
    /// Users, projects, tokens, runners and jobs to begin with, as JSON.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Serve HTTPS with a self-signed certificate.
    #[arg(long)]
    tls: bool,
    /// End when standard input ends.
    #[arg(long)]
    stop_with_stdin: bool,
}

/// Why the program ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("cannot read `{path}`")]
    Seed { path: PathBuf, source: io::Error },
    #[error("cannot start")]
    Start { source: StartError },
    #[error("cannot write `{path}`")]
    Certificate { path: PathBuf, source: io::Error },
    #[error("cannot wait for signals or print")]
    Wait { source: io::Error },
}

/// Runs until SIGTERM, SIGINT or, if asked, the end of standard input.
pub fn run(args: Args) -> Result<(), ProgramError> {
    let seed = args
        .seed
        .map(|path| std::fs::read_to_string(&path).map_err(|source| ProgramError::Seed { path, source }));
    let options = Options {
        listen: args.listen,
        state_dir: Some(args.state_dir.clone()),
        external_url: args.external_url,
        tls: args.tls,
        seed: seed.transpose()?,
        ..Options::default()
    };
    let stand_in = StandIn::start(options).map_err(|source| ProgramError::Start { source })?;
    let certificate = write_certificate(&stand_in)?;
    let ready = json!({
        "url": stand_in.url(),
        "control": format!("{}/-/stand-in", stand_in.url()),
        "token": stand_in.root_token(),
        "state_dir": stand_in.state_dir(),
        "certificate": certificate,
    });
    announce_and_wait(&ready.to_string(), args.stop_with_stdin)
        .map_err(|source| ProgramError::Wait { source })
}

#[expect(clippy::disallowed_methods, reason = "the certificate is public and new at every start")]
fn write_certificate(stand_in: &StandIn) -> Result<Option<PathBuf>, ProgramError> {
    let Some(pem) = stand_in.certificate() else { return Ok(None) };
    let path = stand_in.state_dir().join("certificate.pem");
    match std::fs::write(&path, pem) {
        Ok(()) => Ok(Some(path)),
        Err(source) => Err(ProgramError::Certificate { path, source }),
    }
}

fn announce_and_wait(line: &str, with_stdin: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let waited = runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // Announced only now, so that a signal sent at once finds its handler.
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()?;
        drop(stdout);
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            ended = end_of_stdin(), if with_stdin => ended,
        }
    });
    // A read of standard input cannot be called back; do not wait for it.
    runtime.shutdown_background();
    waited
}

/// Standard input is read on a thread of its own: such a read cannot be called back.
async fn end_of_stdin() -> io::Result<()> {
    let copied = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()));
    copied.await.map_err(io::Error::other)?.map(drop)
}
