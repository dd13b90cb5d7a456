use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

/// A layer from `(path, kind, text)`; the text is the content of a file or the target of a link.
fn layer(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for &(path, kind, text) in entries {
        append(&mut builder, path, kind, text, 0o644);
    }
    builder.into_inner().unwrap()
}

fn append(builder: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, text: &str, mode: u32) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    header.set_mtime(1_000_000_000);
    header.set_mode(if kind == EntryType::Directory && mode == 0o644 { 0o755 } else { mode });
    if matches!(kind, EntryType::Link | EntryType::Symlink) {
        header.set_size(0);
        builder.append_link(&mut header, path, text).unwrap();
    } else if path.contains("..") || path.starts_with('/') {
        // The builder refuses such names; they come from elsewhere.
        header.set_size(text.len() as u64);
        let name = path.as_bytes();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    } else {
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
}

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const HARD_LINK: EntryType = EntryType::Link;

/// Unpacks layers into a new directory, which must not be left by them.
fn unpacked(layers: &[Vec<u8>]) -> (TempDir, Result<(), UnpackError>) {
    let directory = tempfile::tempdir().unwrap();
    let rootfs = directory.path().join("rootfs");
    fs::create_dir(&rootfs).unwrap();
    let mut paths = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let path = directory.path().join(format!("layer-{number}"));
        File::create(&path).unwrap().write_all(layer).unwrap();
        paths.push(path);
    }
    let result = unpack(&paths, &rootfs);
    (directory, result)
}

/// What is in a tree: paths with `/` behind directories, `-> TARGET` behind links, `= TEXT` behind files.
fn listed(root: &Path) -> Vec<String> {
    fn walk(root: &Path, below: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let path = below.join(entry.unwrap().file_name());
            let full = root.join(&path);
            let name = path.display();
            let kind = full.symlink_metadata().unwrap().file_type();
            let text = if kind.is_symlink() {
                format!("{name} -> {}", fs::read_link(&full).unwrap().display())
            } else if kind.is_dir() {
                walk(root, &path, found);
                format!("{name}/")
            } else if kind.is_file() {
                format!("{name} = {}", fs::read_to_string(&full).unwrap())
            } else {
                format!("{name} | other")
            };
            found.insert(path, text);
        }
    }
    let mut found = BTreeMap::new();
    walk(root, Path::new(""), &mut found);
    found.into_values().collect()
}

fn check(layers: &[Vec<u8>], expected: &[&str]) {
    let (directory, result) = unpacked(layers);
    result.unwrap();
    assert_eq!(listed(&directory.path().join("rootfs")), expected);
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        layers.len() + 1,
        "something was made outside"
    );
}

#[test]
fn later_layers_take_away_and_replace() {
    check(
        &[
            layer(&[
                ("a/gone", FILE, "1"),
                ("a/kept", FILE, "1"),
                ("b/old", FILE, "1"),
                ("file-then-dir", FILE, "1"),
                ("dir-then-file/x", FILE, "1"),
                ("link-then-dir", LINK, "a"),
            ]),
            layer(&[
                ("a/.wh.gone", FILE, ""),
                ("a/.wh.never-there", FILE, ""),
                ("no-such-dir/.wh.x", FILE, ""),
                ("b/new", FILE, "2"),
                ("b/.wh..wh..opq", FILE, ""),
                ("file-then-dir", DIRECTORY, ""),
                ("file-then-dir/x", FILE, "2"),
                ("dir-then-file", FILE, "2"),
                ("link-then-dir", DIRECTORY, ""),
            ]),
        ],
        &[
            "a/",
            "a/kept = 1",
            "b/",
            "b/new = 2",
            "dir-then-file = 2",
            "file-then-dir/",
            "file-then-dir/x = 2",
            "link-then-dir/",
        ],
    );
}

#[test]
fn links_lead_where_they_lead_in_the_image() {
    let outside = tempfile::tempdir().unwrap();
    let outside_path = outside.path().to_str().unwrap();
    check(
        &[
            layer(&[
                ("usr/bin/old", FILE, "1"),
                ("bin", LINK, "usr/bin"),
                ("run", DIRECTORY, ""),
                ("var/run", LINK, "/run"),
            ]),
            layer(&[
                ("bin/tool", FILE, "2"),
                ("var/run/state", FILE, "2"),
                ("hard", HARD_LINK, "bin/old"),
                ("escape", LINK, outside_path),
                ("escape/file", FILE, "2"),
                ("up", LINK, "../../../.."),
                ("up/file", FILE, "2"),
            ]),
        ],
        &{
            let link = format!("escape -> {outside_path}");
            let made: Vec<String> = outside.path().iter().skip(1).fold(Vec::new(), |mut made, part| {
                let before = made.last().map_or(String::new(), |last: &String| last.clone());
                made.push(format!("{before}{}/", part.to_str().unwrap()));
                made
            });
            let inside = format!("{}file = 2", made.last().unwrap());
            let mut all: Vec<String> = made;
            all.push(inside);
            all.extend(
                [
                    "bin -> usr/bin",
                    "file = 2",
                    "hard = 1",
                    "run/",
                    "run/state = 2",
                    "up -> ../../../..",
                    "usr/",
                    "usr/bin/",
                    "usr/bin/old = 1",
                    "usr/bin/tool = 2",
                    "var/",
                    "var/run -> /run",
                ]
                .map(str::to_owned),
            );
            all.push(link);
            all.sort_by_key(|line| {
                line.split(" ->").next().unwrap().split(" =").next().unwrap().trim_end_matches('/').to_owned()
            });
            all
        }
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>(),
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn odd_names_stay_inside() {
    let long = "d/".repeat(90) + "file";
    let (directory, result) = unpacked(&[layer(&[
        ("a/../b", FILE, "b"),
        ("../../c", FILE, "c"),
        ("/abs/d", FILE, "d"),
        ("e/.wh...", FILE, ""),
        ("a name with spaces", FILE, ""),
        (&long, FILE, "deep"),
    ])]);
    result.unwrap();
    let found = listed(&directory.path().join("rootfs"));
    let shown: Vec<&str> = found.iter().map(String::as_str).filter(|line| !line.starts_with("d/")).collect();
    assert_eq!(shown, ["a name with spaces = ", "abs/", "abs/d = d", "b = b", "c = c"]);
    assert!(found.contains(&format!("{long} = deep")));
}

#[test]
fn names_need_no_character_set() {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"latin-\xe9");
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    builder.append_data(&mut header, name, &b""[..]).unwrap();
    let (directory, result) = unpacked(&[builder.into_inner().unwrap()]);
    result.unwrap();
    assert!(directory.path().join("rootfs").join(name).exists());
}

#[test]
fn modes_and_times_of_directories_are_theirs_in_the_end() {
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, "closed", DIRECTORY, "", 0o555);
    append(&mut builder, "closed/file", FILE, "x", 0o4755);
    append(&mut builder, "sticky", DIRECTORY, "", 0o1777);
    append(&mut builder, "closed/pipe", EntryType::Fifo, "", 0o640);
    let mut header = Header::new_gnu();
    header.set_entry_type(DIRECTORY);
    header.set_mode(0o751);
    header.set_size(0);
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    builder.append_data(&mut header, "./", &b""[..]).unwrap();
    let (directory, result) = unpacked(&[builder.into_inner().unwrap()]);
    result.unwrap();
    let rootfs = directory.path().join("rootfs");
    let found = |path: &str| {
        let found = rootfs.join(path).symlink_metadata().unwrap();
        (found.permissions().mode() & 0o7777, found.mtime())
    };
    let owner_may = if rustix::process::geteuid().is_root() { 0 } else { 0o700 };
    assert_eq!(found("closed"), (0o555 | owner_may, 1_000_000_000));
    assert_eq!(found("closed/file"), (0o4755, 1_000_000_000));
    assert_eq!(found("closed/pipe").0, 0o640);
    assert_eq!(found("sticky"), (0o1777, 1_000_000_000));
    assert_eq!(found("."), (0o751, 0));
}

#[test]
fn layers_of_every_kind_are_read() {
    let text = layer(&[("file", FILE, "x")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
    // Tables of a layer that can be read in part, between two halves as frames of their own.
    let mut frames =
        ruzstd::encoding::compress_to_vec(&text[..512], ruzstd::encoding::CompressionLevel::Fastest);
    frames.extend([0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    frames
        .extend(ruzstd::encoding::compress_to_vec(&text[512..], ruzstd::encoding::CompressionLevel::Fastest));
    for kind in [text.clone(), gzip.finish().unwrap(), zstd, frames] {
        check(&[kind], &["file = x"]);
    }
}

#[test]
fn a_broken_layer_is_the_images_fault_and_a_bad_directory_is_not() {
    let whole = layer(&[("file", FILE, &"x".repeat(5000))]);
    let (_directory, result) = unpacked(&[whole[..2000].to_vec()]);
    assert!(result.unwrap_err().is_the_images());
    let (_directory, result) = unpacked(&[b"this is no tar file".repeat(100)]);
    assert!(result.unwrap_err().is_the_images());
    let directory = tempfile::tempdir().unwrap();
    let error = unpack(&[], &directory.path().join("missing")).unwrap_err();
    assert!(!error.is_the_images() && !error.is_full_disk());
}

#[test]
fn whiteouts_do_not_follow_links() {
    let directory = tempfile::tempdir().unwrap();
    let rootfs = directory.path().join("rootfs");
    fs::create_dir(&rootfs).unwrap();
    fs::create_dir(directory.path().join("outside")).unwrap();
    File::create(directory.path().join("outside/precious")).unwrap();
    symlink(directory.path().join("outside"), rootfs.join("link")).unwrap();
    let path = directory.path().join("layer");
    let text =
        layer(&[("link/.wh.precious", FILE, ""), ("link/.wh..wh..opq", FILE, ""), (".wh.link", FILE, "")]);
    File::create(&path).unwrap().write_all(&text).unwrap();
    unpack(&[path], &rootfs).unwrap();
    assert!(directory.path().join("outside/precious").exists());
    assert!(rootfs.join("link").symlink_metadata().is_err());
}
