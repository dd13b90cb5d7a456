//! What a pod's processes inherit: two pipes, and the standard streams of the driver.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::unistd::close;
use rustix::fs::{FileType, Gid, Uid, fchown, fstat};

use super::PodError;

/// Closes everything that was inherited but the standard streams and `kept`.
///
/// A batch script may hold a lock file or a directory open, and gitlab-runner passes on what it got. A job must not get
/// hold of it: through a descriptor of a directory it could reach the whole host.
pub(crate) fn close_others(kept: &[&OwnedFd]) -> Result<(), PodError> {
    let failed = |source: io::Error| PodError::Namespace { action: "list the open files", source };
    let numbers: Vec<RawFd> = fs::read_dir("/proc/self/fd")
        .map_err(failed)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let is_kept = |number: &RawFd| *number <= 2 || kept.iter().any(|one| one.as_raw_fd() == *number);
    for number in numbers.into_iter().filter(|number| !is_kept(number)) {
        // The listing's own descriptor is closed already.
        let _ = close(number);
    }
    Ok(())
}

/// Gives stdout and stderr to the user of the job's processes, as docker does: without that an ordinary user cannot open
/// `/dev/stderr`. Only pipes: a file or a terminal belongs to somebody.
pub(super) fn give_output_to(uid: u32) {
    let give = |stream: BorrowedFd<'_>| -> rustix::io::Result<()> {
        let is_pipe = FileType::from_raw_mode(fstat(stream)?.st_mode) == FileType::Fifo;
        if is_pipe { fchown(stream, Some(Uid::from_raw(uid)), None::<Gid>) } else { Ok(()) }
    };
    // It is a convenience: where it is refused, the streams themselves work all the same.
    let _ = give(io::stdout().as_fd()).and_then(|()| give(io::stderr().as_fd()));
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::pipe::pipe;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test process of its own, whose files may be closed")]
    fn only_what_is_named_stays_open() {
        const AGAIN: &str = "META_RUNNER_TEST_DESCRIPTORS";
        if std::env::var_os(AGAIN).is_none() {
            // Other tests of this process have files open, so the closing is done in another one.
            let name = "pod::descriptors::tests::only_what_is_named_stays_open";
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(AGAIN, "1")
                .status();
            assert!(status.unwrap().success());
            return;
        }
        let ((kept, _writer), (inherited, _other)) = (pipe().unwrap(), pipe().unwrap());
        let is_open = |number: i32| std::fs::metadata(format!("/proc/self/fd/{number}")).is_ok();
        super::close_others(&[&kept]).unwrap();
        let open = (is_open(kept.as_raw_fd()), is_open(inherited.as_raw_fd()));
        // What was closed must not be closed again.
        std::mem::forget((_writer, inherited, _other));
        assert_eq!(open, (true, false));
    }
}
