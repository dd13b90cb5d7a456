//! Which files belong to an artifact or a cache.
#![expect(clippy::disallowed_methods, reason = "paths are relative to where the script is")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use globset::{GlobBuilder, GlobMatcher};

use crate::runner_log::{info, warning};
use crate::shell::paths::{clean, join, relative};

#[derive(Clone, Debug, Args)]
pub(super) struct Selection {
    /// Add paths to archive
    #[arg(long = "path")]
    pub(super) paths: Vec<String>,
    /// Exclude paths from the archive
    #[arg(long = "exclude")]
    pub(super) excludes: Vec<String>,
    /// Add git untracked files
    #[arg(long)]
    pub(super) untracked: bool,
    #[arg(long)]
    pub(super) verbose: bool,
}

/// Sorted, each path relative to `directory`.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) directory: PathBuf,
    pub(super) entries: BTreeMap<String, Metadata>,
}

/// Finds the files, and says on stderr how many each path gave.
pub(super) fn enumerate(selection: &Selection) -> std::io::Result<Files> {
    enumerate_in(&std::env::current_dir()?, selection)
}

pub(super) fn enumerate_in(directory: &Path, selection: &Selection) -> std::io::Result<Files> {
    let excludes = selection.excludes.iter().filter_map(|text| {
        let pattern = pattern_within(directory, text)
            .map_err(|problem| warning(format!("isExcluded: {problem}")))
            .ok()?;
        Some((text.clone(), matcher(&pattern)?))
    });
    let mut finder = Finder {
        directory,
        excludes: excludes.collect(),
        excluded: BTreeMap::new(),
        entries: BTreeMap::new(),
    };
    for path in &selection.paths {
        finder.add_path(path);
    }
    if selection.untracked {
        finder.add_untracked();
    }
    for (pattern, count) in &finder.excluded {
        info(format!("{pattern}: excluded {count} files"));
    }
    Ok(Files { entries: finder.entries, directory: directory.to_owned() })
}

struct Finder<'a> {
    directory: &'a Path,
    excludes: Vec<(String, Matcher)>,
    excluded: BTreeMap<String, u64>,
    entries: BTreeMap<String, Metadata>,
}

impl Finder<'_> {
    fn add_path(&mut self, path: &str) {
        if path.is_empty() {
            warning("No matching files. Path is empty.");
            return;
        }
        let pattern = match pattern_within(self.directory, path) {
            Ok(pattern) => pattern,
            Err(problem) => {
                warning(format!("processPath: {problem}"));
                return;
            }
        };
        let mut found = 0;
        for start in self.matches(&pattern) {
            let mut below = Vec::new();
            walk(self.directory, &start, &mut |path| below.push(path.to_owned()));
            found += below.iter().filter(|path| self.add(path)).count();
        }
        if found == 0 {
            let here = self.directory.display();
            warning(format!(
                "{path}: no matching files. Ensure that the artifact path is relative to the working directory ({here})"
            ));
        } else {
            info(format!("{path}: found {found} matching artifact files and directories"));
        }
    }

    /// Paths that the pattern names, without what lies below them.
    fn matches(&self, pattern: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if !is_glob(pattern) {
            // Follows a link, so a dangling one is found by a glob or below a directory only, as with the real program.
            if self.directory.join(pattern).exists() {
                found.insert(pattern.to_owned());
            }
        } else if let Some(matcher) = matcher(pattern) {
            walk(self.directory, literal_part(pattern), &mut |path| {
                if path != "." && matcher.matches(path) {
                    found.insert(path.to_owned());
                }
            });
        } else {
            warning(format!("{pattern}: syntax error in pattern"));
        }
        found
    }

    /// Files that git doesn't know.
    fn add_untracked(&mut self) {
        let listing = Command::new("git").args(["ls-files", "-o", "-z"]).current_dir(self.directory).output();
        let listing = match listing {
            Ok(output) if output.status.success() => output.stdout,
            Ok(output) => {
                return warning(format!("untracked: {}", String::from_utf8_lossy(&output.stderr).trim()));
            }
            Err(error) => return warning(format!("untracked: {error}")),
        };
        let names = listing.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        match names.filter(|name| self.add(&String::from_utf8_lossy(name))).count() {
            0 => warning("untracked: no files"),
            found => info(format!("untracked: found {found} files")),
        }
    }

    fn add(&mut self, path: &str) -> bool {
        if let Some((pattern, _)) = self.excludes.iter().find(|(_, matcher)| matcher.matches(path)) {
            *self.excluded.entry(pattern.clone()).or_default() += 1;
            return false;
        }
        match self.directory.join(path).symlink_metadata() {
            Ok(metadata) => {
                self.entries.insert(path.to_owned(), metadata);
                true
            }
            Err(_) => false,
        }
    }
}

/// A glob in which `*` stops at slashes, and `x/**` means `x` too.
struct Matcher {
    glob: GlobMatcher,
    with_base: Option<GlobMatcher>,
}

impl Matcher {
    fn matches(&self, path: &str) -> bool {
        self.glob.is_match(path) || self.with_base.as_ref().is_some_and(|base| base.is_match(path))
    }
}

fn matcher(pattern: &str) -> Option<Matcher> {
    let compile = |pattern: &str| {
        let mut builder = GlobBuilder::new(pattern);
        builder.literal_separator(true).backslash_escape(true).build().ok().map(|glob| glob.compile_matcher())
    };
    let with_base = pattern.strip_suffix("/**").and_then(compile);
    Some(Matcher { glob: compile(pattern)?, with_base })
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

/// The directories of a pattern before its first special character; `.` if there are none.
fn literal_part(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    pattern[..end].rfind('/').map_or(".", |slash| &pattern[..slash])
}

/// The pattern relative to the directory; one that leads out of it is a problem.
fn pattern_within(directory: &Path, pattern: &str) -> Result<String, String> {
    let here = directory.to_string_lossy();
    let literal = if is_glob(pattern) { literal_part(pattern) } else { pattern };
    let rest = if is_glob(pattern) {
        pattern[literal.len().min(pattern.len())..].trim_start_matches('/')
    } else {
        ""
    };
    let rest = if literal == "." && is_glob(pattern) && !pattern.starts_with("./") { pattern } else { rest };
    let absolute = if literal.starts_with('/') { clean(literal) } else { join(&here, literal) };
    let outside = || format!("artifact path is not a subpath of project directory: {pattern}");
    let within = relative(&here, &absolute).ok_or_else(outside)?;
    if within == ".." || within.starts_with("../") {
        return Err(outside());
    }
    Ok(join(&within, rest))
}

/// Calls `visit` for the start and all below it, in order, without following links.
fn walk(directory: &Path, start: &str, visit: &mut impl FnMut(&str)) {
    let path = directory.join(start);
    let Ok(metadata) = path.symlink_metadata() else { return };
    visit(start);
    if !metadata.is_dir() {
        return;
    }
    let Ok(entries) = std::fs::read_dir(&path) else { return };
    let names: BTreeSet<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for name in names {
        walk(directory, &join(start, &name), visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str], excludes: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.txt", "out/x.o", "out/deep/y.o", "out/deep/z.txt", ".hidden/h"] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap();
        }
        std::os::unix::fs::symlink("a.txt", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let selection = Selection {
            paths: strings(paths),
            excludes: strings(excludes),
            untracked: false,
            verbose: false,
        };
        enumerate_in(folder.path(), &selection).unwrap().entries.into_keys().collect()
    }

    #[test]
    fn directories_bring_what_is_below_them() {
        assert_eq!(found(&["out/"], &[]), ["out", "out/deep", "out/deep/y.o", "out/deep/z.txt", "out/x.o"]);
        assert_eq!(found(&["link", "missing", "dangling"], &[]), ["link"]);
        assert_eq!(found(&["dang*"], &[]), ["dangling"]);
    }

    #[test]
    fn globs_stop_at_slashes_unless_doubled() {
        assert_eq!(found(&["*.txt"], &[]), ["a.txt"]);
        assert_eq!(found(&["**/*.txt"], &[]), ["a.txt", "out/deep/z.txt"]);
        assert_eq!(found(&["out/*.{o,txt}"], &[]), ["out/x.o"]);
        assert_eq!(found(&["./out/d*p/z.txt"], &[]), ["out/deep/z.txt"]);
        assert_eq!(found(&[".*"], &[]), [".hidden", ".hidden/h"]);
    }

    #[test]
    fn exclusions_and_outside_paths() {
        assert_eq!(found(&["out"], &["out/**/*.o"]), ["out", "out/deep", "out/deep/z.txt"]);
        assert_eq!(found(&["out"], &["out/deep/**"]), ["out", "out/x.o"]);
        assert_eq!(found(&["../x", "/etc/passwd", "/etc/*"], &[]), Vec::<String>::new());
    }
}
