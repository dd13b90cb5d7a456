//! Making room: the images that were used least recently go, those in use stay.

use std::path::PathBuf;
use std::time::SystemTime;

/// An image that may be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) directory: PathBuf,
    pub(super) bytes: u64,
    pub(super) last_use: SystemTime,
    /// It is in use, or this job cannot remove it.
    pub(super) stays: bool,
}

/// The images to remove so that the rest has at most `limit` bytes, as far as that goes.
pub(super) fn plan(mut images: Vec<Candidate>, limit: u64) -> Vec<Candidate> {
    let mut total: u64 = images.iter().map(|image| image.bytes).sum();
    images.sort_by(|a, b| (a.last_use, &a.directory).cmp(&(b.last_use, &b.directory)));
    images.retain(|image| {
        let goes = total > limit && !image.stays;
        total -= if goes { image.bytes } else { 0 };
        goes
    });
    images
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(images: &[(&str, u64, u64, bool)], limit: u64, removed: &[&str]) {
        let candidates = images.iter().map(|&(name, bytes, last_use, stays)| Candidate {
            directory: name.into(),
            bytes,
            last_use: SystemTime::UNIX_EPOCH + Duration::from_secs(last_use),
            stays,
        });
        let plan = plan(candidates.collect(), limit);
        let names: Vec<&str> = plan.iter().filter_map(|image| image.directory.to_str()).collect();
        assert_eq!(names, removed, "{images:?} {limit}");
    }

    #[test]
    fn least_recently_used_first_and_never_one_in_use() {
        let images =
            [("new", 10, 3, false), ("old", 10, 1, false), ("used", 10, 0, true), ("middle", 10, 2, false)];
        check(&images, 40, &[]);
        check(&images, 39, &["old"]);
        check(&images, 21, &["old", "middle"]);
        check(&images, 0, &["old", "middle", "new"]);
        check(&[], 0, &[]);
    }
}
