//! A real Slurm of a test's own, run by the test's user: what is done to it meets nobody else.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::processes::wait_until;

/// Wide: a safety limit, not a measurement.
const LIMIT: Duration = Duration::from_secs(60);

/// One controller and one node, both ended on drop.
#[derive(Debug)]
pub struct Slurm {
    directory: TempDir,
    controller: Option<Child>,
    node: Option<Child>,
}

impl Slurm {
    /// A cluster with so many CPUs (jobs that run at a time), up and idle. The account `closed` is nobody's.
    pub fn start(cpus: u32) -> Self {
        let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
        for folder in ["controller", "node"] {
            fs::create_dir(directory.path().join(folder)).expect("the directory is new");
        }
        let [controller, node] = free_ports();
        let path = directory.path().display().to_string();
        let text = include_str!("slurm/slurm.conf")
            .replace("@DIRECTORY@", &path)
            .replace("@CONTROLLER@", &controller.to_string())
            .replace("@NODE@", &node.to_string())
            .replace("@CPUS@", &cpus.to_string());
        for (name, text) in [
            ("slurm.conf", text.as_str()),
            ("cgroup.conf", "CgroupPlugin=disabled\n"),
            ("job_submit.lua", include_str!("slurm/job_submit.lua")),
        ] {
            fs::write(directory.path().join(name), text).expect("the directory is writable");
        }
        let mut slurm = Self { directory, controller: None, node: None };
        slurm.start_controller();
        slurm.node = Some(slurm.daemon("slurmd"));
        slurm.wait_for("idle");
        slurm
    }

    /// The variable that leads Slurm's programs here.
    pub fn environment(&self) -> (&'static str, PathBuf) {
        ("SLURM_CONF", self.directory.path().join("slurm.conf"))
    }

    /// Runs one of Slurm's programs; gives what it printed. Panics if it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } =
            self.command(program).args(arguments).output().expect("it starts");
        let text = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{program} {arguments:?}: {text}{}", String::from_utf8_lossy(&stderr));
        text
    }

    /// Ids of all allocations that there were: elements of arrays one by one.
    pub fn allocations(&self) -> Vec<String> {
        let text = self.run("squeue", &["--states=all", "--array", "--noheader", "--format=%i %T"]);
        let ran = text.lines().filter(|line| !line.ends_with(" PENDING"));
        ran.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    /// Ids of the jobs that wait.
    pub fn pending(&self) -> Vec<String> {
        let text = self.run("squeue", &["--states=pending", "--array", "--noheader", "--format=%i"]);
        text.lines().map(str::to_owned).collect()
    }

    /// Lets no further job begin.
    pub fn drain(&self) {
        self.run("scontrol", &["update", "nodename=node1", "state=drain", "reason=test"]);
        self.wait_for("drain");
    }

    pub fn resume(&self) {
        self.run("scontrol", &["update", "nodename=node1", "state=resume"]);
        self.wait_for("idle");
    }

    pub fn stop_controller(&mut self) {
        self.run("scontrol", &["shutdown", "slurmctld"]);
        if let Some(mut controller) = self.controller.take() {
            controller.wait().expect("it is our child");
        }
    }

    pub fn start_controller(&mut self) {
        self.controller = Some(self.daemon("slurmctld"));
    }

    /// Waits until the node is in this state.
    pub fn wait_for(&self, state: &str) {
        wait_until(&format!("the node becomes {state}"), LIMIT, || {
            let output =
                self.command("sinfo").args(["--noheader", "--format=%t"]).output().expect("it starts");
            String::from_utf8_lossy(&output.stdout).trim() == state
        });
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, program: &str) -> Command {
        let (name, value) = self.environment();
        let mut command = Command::new(program);
        command.env(name, value).stdin(Stdio::null());
        command
    }

    fn daemon(&self, program: &str) -> Child {
        let log =
            fs::File::create(self.path().join(format!("{program}.log"))).expect("the directory is writable");
        let errors = log.try_clone().expect("a file can be shared");
        self.command(program).arg("-D").stdout(log).stderr(errors).spawn().expect("the daemon starts")
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = self.command("scancel").args(["--me", "--full", "--signal=KILL"]).status();
        let mut daemons: Vec<Child> = self.node.take().into_iter().chain(self.controller.take()).collect();
        for daemon in &mut daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Two ports that nobody else has just now.
pub(crate) fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound socket has an address").port())
}
