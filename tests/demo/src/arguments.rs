//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Runs a sample pipeline from push to result.
#[derive(Debug, Parser)]
#[command(name = "demo")]
pub(crate) struct Arguments {
    /// Where the demo works, in a directory of its own that is removed at the end. The compute nodes must see it.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// A registry with the bed's test images, without TLS; by default the images are Docker Hub's.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) registry: Option<String>,
    /// Starts the jobs on this machine, although there is a batch system.
    #[arg(long)]
    pub(crate) no_batch_system: bool,
    /// Where the GitLab stand-in listens. Compute nodes on other machines need an address of this one that they reach.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
}
