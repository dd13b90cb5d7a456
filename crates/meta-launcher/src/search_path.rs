//! What to do when a program is not found: mostly cron's short PATH.

use std::path::Path;

use meta_core::command_line::CommandLine;
use meta_host::Environment;
use meta_host::process::ProcessError;

/// Where sites have their batch system, beside what a login shell adds.
const USUAL: [&str; 6] = [
    "/usr/local/bin",
    "/opt/slurm/bin",
    "/usr/local/slurm/bin",
    "/opt/slurm/current/bin",
    "/cm/shared/apps/slurm/current/bin",
    "/opt/pbs/bin",
];

/// Lines to put behind the error, or nothing if it is another one.
pub(crate) fn hint(error: &ProcessError, command: &CommandLine, environment: &Environment) -> String {
    let ProcessError::Start { source, .. } = error else { return String::new() };
    let program = &command.program;
    if source.kind() != std::io::ErrorKind::NotFound || program.components().count() > 1 {
        return format!("\ncaused by: {source}");
    }
    let path = environment.variables.get("PATH").map_or("", String::as_str);
    let found = USUAL.iter().find(|folder| Path::new(folder).join(program).exists());
    let folder = found.map_or_else(|| format!("<directory of {}>", program.display()), |f| (*f).to_owned());
    let how = if found.is_some() {
        String::new()
    } else {
        format!("; in your shell `command -v {}` prints where it is", program.display())
    };
    format!(
        "\ncaused by: `{}` is not in PATH, which is `{path}`\n\
         hint: cron and systemd have a short PATH: put the line `PATH={folder}:{path}` above the others in the crontab{how}",
        program.display()
    )
}
