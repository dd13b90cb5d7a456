//! What a directory lies on: a disk of this machine, or a file system that others see, too.

use std::path::Path;

use rustix::fs::statfs;

/// `f_type` of file systems that are a node's own (statfs(2)): ext, xfs, btrfs, tmpfs, zfs, overlay, f2fs, bcachefs. Any other
/// counts as shared: files of subordinate ids can't be kept on most of them, and none serves small files fast.
const LOCAL: [u64; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x2fc1_2fc1, 0x794c_7630, 0xf2f5_2010, 0xca45_1a4e];

/// Looks at `path`, or at the nearest directory above it that is there.
pub fn is_local(path: &Path) -> bool {
    path.ancestors().find_map(|path| statfs(path).ok()).is_none_or(|found| is_local_type(found.f_type))
}

#[expect(
    clippy::cast_sign_loss,
    reason = "the kernel's number is 32 bits wide; some are negative as signed ones"
)]
fn is_local_type(kind: impl Into<i64>) -> bool {
    LOCAL.contains(&(kind.into() as u64 & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_shared() {
        for shared in
            [0x6969_i64, 0x0bd0_0bd0, 0x4750_4653, 0x6573_5546, 0x00c3_6400, 0x1983_0326, 0xfe53_4d42]
        {
            assert!(!is_local_type(shared), "{shared:x}");
        }
        assert!(is_local_type(0xef53_i64));
        assert!(is_local_type(i64::from(0x9123_683e_u32.cast_signed())), "as a signed number");
    }

    #[test]
    fn what_is_not_there_is_judged_by_what_is_above() {
        let proc = Path::new("/proc/self/no/such");
        assert!(!is_local(proc), "procfs is no disk");
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(is_local(&directory.path().join("a/b")), is_local(directory.path()));
    }
}
