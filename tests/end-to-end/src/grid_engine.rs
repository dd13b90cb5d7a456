//! A real Grid Engine of a test's own, run by the test's user: the second batch system, known to the launcher by a table.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::processes::wait_until;
use crate::slurm::free_ports;

const PROGRAMS: &str = "/usr/lib/gridengine";

/// Wide: a safety limit, not a measurement.
const LIMIT: Duration = Duration::from_secs(60);

/// Queue master and one execution host, both ended on drop.
#[derive(Debug)]
pub struct GridEngine {
    directory: TempDir,
    ports: [u16; 2],
    daemons: Option<Child>,
}

impl GridEngine {
    /// A cluster with so many slots (jobs that run at a time).
    pub fn start(slots: u32) -> Self {
        let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
        let mut grid = Self { directory, ports: free_ports(), daemons: None };
        let log = fs::File::create(grid.path().join("log")).expect("the directory is writable");
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("grid_engine/start.sh"), "sh", &slots.to_string()])
            .envs(grid.environment())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file can be shared"))
            .stdout(log)
            .process_group(0);
        grid.daemons = Some(command.spawn().expect("sh starts"));
        let up = grid.path().join("up");
        wait_until("Grid Engine is up", LIMIT, || up.exists());
        grid
    }

    /// The variables that lead Grid Engine's programs here.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("SGE_ROOT", self.path().to_owned()),
            ("SGE_CELL", "default".into()),
            ("SGE_QMASTER_PORT", self.ports[0].to_string().into()),
            ("SGE_EXECD_PORT", self.ports[1].to_string().into()),
            // The programs themselves: what is in /usr/bin asks a C preprocessor for the architecture.
            ("PATH", format!("{PROGRAMS}:{}", std::env::var("PATH").unwrap_or_default()).into()),
            ("LD_LIBRARY_PATH", PROGRAMS.into()),
        ]
    }

    /// What `qstat` prints.
    pub fn queue(&self) -> String {
        let output = Command::new(Path::new(PROGRAMS).join("qstat"))
            .arg("-r")
            .envs(self.environment())
            .output()
            .expect("qstat starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Lets no further job begin, or lets them begin again (`-d`, `-e`).
    pub fn switch_queue(&self, how: &str) {
        let status = Command::new(Path::new(PROGRAMS).join("qmod"))
            .args([how, "main.q"])
            .envs(self.environment())
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("qmod starts").success());
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for GridEngine {
    fn drop(&mut self) {
        if let Some(mut daemons) = self.daemons.take() {
            let group = format!("-{}", daemons.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = daemons.wait();
        }
    }
}
