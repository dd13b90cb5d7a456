//! What a driver's exit code says.

use std::path::Path;

use crate::build::failure::{JobError, Reason};
use crate::executor::process::Failure;

/// The job failed.
pub(super) const BUILD_FAILURE: i32 = 1;
/// Something else failed.
pub(super) const SYSTEM_FAILURE: i32 = 2;

/// What a driver's end means for its job. With exit code 1, the first line of the code file is the job's exit code.
pub(super) fn of(failure: &Failure, code_file: &Path) -> JobError {
    let script =
        |message: String, exit_code| JobError::Build { message, exit_code, reason: Reason::ScriptFailure };
    let unknown = |code: i32| {
        let prefix = "unknown Custom executor executable exit code";
        JobError::System(format!("{prefix} {code}; executable execution terminated with: {failure}"))
    };
    match failure {
        Failure::Exit(BUILD_FAILURE) => {
            let Ok(content) = std::fs::read(code_file) else {
                return script(failure.to_string(), BUILD_FAILURE);
            };
            let content = String::from_utf8_lossy(&content);
            let line = content.lines().next().unwrap_or("");
            match line.parse() {
                Ok(code) => script(format!("exit status {line}"), code),
                Err(_) => unknown(SYSTEM_FAILURE),
            }
        }
        Failure::Exit(SYSTEM_FAILURE) | Failure::Other(_) => JobError::System(failure.to_string()),
        Failure::Exit(code) => unknown(*code),
        Failure::Signal(_) => unknown(-1),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn judged(failure: &Failure, code: Option<&str>) -> JobError {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("build_exit_code");
        if let Some(code) = code {
            std::fs::File::create(&file).unwrap().write_all(code.as_bytes()).unwrap();
        }
        of(failure, &file)
    }

    #[test]
    fn exit_codes_mean_what_the_contract_says() {
        let script = |message: &str, exit_code| JobError::Build {
            message: message.to_owned(),
            exit_code,
            reason: Reason::ScriptFailure,
        };
        assert_eq!(judged(&Failure::Exit(1), None), script("exit status 1", 1));
        assert_eq!(judged(&Failure::Exit(1), Some("42\nrest")), script("exit status 42", 42));
        let unknown = "unknown Custom executor executable exit code";
        assert_eq!(
            judged(&Failure::Exit(1), Some(" 42")),
            JobError::System(format!("{unknown} 2; executable execution terminated with: exit status 1"))
        );
        assert_eq!(judged(&Failure::Exit(2), Some("42")), JobError::System("exit status 2".to_owned()));
        assert_eq!(
            judged(&Failure::Exit(137), None),
            JobError::System(format!("{unknown} 137; executable execution terminated with: exit status 137"))
        );
        assert_eq!(
            judged(&Failure::Signal(15), None),
            JobError::System(format!(
                "{unknown} -1; executable execution terminated with: signal: terminated"
            ))
        );
    }
}
