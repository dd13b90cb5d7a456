//! Test images: made in the bed from nothing, kept in its registry.

use super::{bootstrap, configure, place, recipe, up};
use crate::failure::{During, Result};
use crate::progress::Progress;
use std::fs;
use std::path::PathBuf;

/// As programs of the bed see it.
pub(super) const REGISTRY: &str = "127.0.0.1:5000";

struct Image {
    name: &'static str,
    tag: &'static str,
    containerfile: &'static str,
}

macro_rules! image {
    ($name:literal, $tag:literal) => {
        Image {
            name: $name,
            tag: $tag,
            containerfile: include_str!(concat!("images/", $name, ".Containerfile")),
        }
    };
}

/// In the order in which they are made: some start from busybox.
const IMAGES: &[Image] = &[
    image!("busybox", "latest"),
    image!("debian", "sid"),
    image!("entrypoint", "latest"),
    image!("user", "latest"),
    image!("sudo", "latest"),
    image!("workdir", "latest"),
    image!("noshell", "latest"),
    image!("multilayer", "latest"),
    image!("large", "latest"),
    image!("ports", "latest"),
    image!("postgres", "latest"),
    image!("redis", "latest"),
    image!("nginx", "latest"),
];

/// Further names: same last part and tag, different images. A cache that drops a part of the name mixes them up.
const TWINS: &[(&str, &str)] = &[("busybox", "evil/tool:22.04"), ("debian", "ubuntu:22.04")];

/// Further names in further forms: layers compressed by zstd, and in frames of it that can be read one by one.
const COMPRESSED: &[(&str, &str, &str)] =
    &[("multilayer", "multilayer:zstd", "zstd"), ("multilayer", "multilayer:chunked", "zstd:chunked")];

/// Files that Containerfiles copy, beside busybox and Debian.
const CONTEXT: &[(&str, &str)] = &[
    ("entrypoint", include_str!("images/entrypoint")),
    ("page", include_str!("images/page")),
    ("collect", include_str!("images/collect")),
    ("postgres-entrypoint", include_str!("images/postgres-entrypoint")),
    ("redis-entrypoint", include_str!("images/redis-entrypoint")),
    ("nginx.conf", include_str!("images/nginx.conf")),
];

const DEBIAN: &[&str] = &[
    "--variant=minbase",
    "--mode=root",
    "--format=tar",
    "--include=sudo,libcap2-bin",
    "--dpkgopt=force-unsafe-io",
];

/// Packages with servers, unpacked and not installed: the images take single programs out of them.
const SERVERS: &[&str] = &[
    "--variant=extract",
    "--mode=root",
    "--format=tar",
    "--include=base-files,bash,coreutils,sed,libc-bin,util-linux,tzdata,postgresql,redis-server,nginx-light",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
];

/// The build context in the bed.
const FOLDER: &str = "/var/cache/bed-images";

/// Makes all images and pushes them, unless that has been done from the same recipe. The bed must run.
pub(super) fn ensure(progress: &Progress) -> Result<()> {
    let stamp_file = configure::in_root(FOLDER).join("recipe");
    if fs::read_to_string(&stamp_file).is_ok_and(|text| text == stamp()) {
        return Ok(());
    }
    write_context(progress)?;
    for image in IMAGES {
        progress.step(format!("making the image {}:{}", image.name, image.tag));
        make(image)?;
        push(image.name, &format!("{}:{}", image.name, image.tag))?;
    }
    for (name, twin) in TWINS {
        push(name, twin)?;
    }
    for (name, form, compression) in COMPRESSED {
        let options = ["--compression-format", compression, "--force-compression"];
        podman(&[&["push"], options.as_slice(), &[&local(name), &format!("{REGISTRY}/{form}")]].concat())?;
    }
    // The registry has them; these copies are only weight.
    podman(&["rmi", "--all", "--force"])?;
    for tar in ["debian.tar", "servers.tar"] {
        fs::remove_file(configure::in_root(FOLDER).join(tar)).during(|| format!("remove `{tar}`"))?;
    }
    configure::write_file(&stamp_file, &stamp())
}

/// Names of all images with their tags, as a job would write them after the registry.
pub(super) fn names() -> impl Iterator<Item = String> {
    let made = IMAGES.iter().map(|image| format!("{}:{}", image.name, image.tag));
    let twins = TWINS.iter().map(|&(_, twin)| twin.to_owned());
    made.chain(twins).chain(COMPRESSED.iter().map(|&(_, form, _)| form.to_owned()))
}

fn stamp() -> String {
    let mut text = format!("{}\n{}\n", DEBIAN.join(" "), SERVERS.join(" "));
    for name in names() {
        text.push_str(&format!("{name}\n"));
    }
    let sources = IMAGES.iter().map(|image| image.containerfile).chain(CONTEXT.iter().map(|(_, text)| *text));
    sources.for_each(|source| text.push_str(source));
    text
}

fn write_context(progress: &Progress) -> Result<()> {
    let folder = configure::in_root(FOLDER);
    let debian = tar(progress, "debian", DEBIAN)?;
    let servers = tar(progress, "servers", SERVERS)?;
    for image in IMAGES {
        configure::write_file(&folder.join(format!("{}.Containerfile", image.name)), image.containerfile)?;
    }
    for (name, text) in CONTEXT {
        configure::write_file(&folder.join(name), text)?;
    }
    for (from, name) in [
        (configure::in_root("/usr/bin/busybox"), "busybox"),
        (debian, "debian.tar"),
        (servers, "servers.tar"),
    ] {
        fs::copy(&from, folder.join(name)).during(|| format!("copy `{}`", from.display()))?;
    }
    Ok(())
}

/// What mmdebstrap makes with `arguments`, as tar, made on the host since the bed has no network. The file's name says what it
/// was made from.
fn tar(progress: &Progress, name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let stamp = place::cache().join(format!("{name}.recipe"));
    let (tar, unfinished) =
        (place::cache().join(format!("{name}.tar")), place::cache().join(format!("{name}.unfinished.tar")));
    let recipe = arguments.join("\n");
    if !tar.exists() || fs::read_to_string(&stamp).unwrap_or_default() != recipe {
        progress.step(format!("making {name}.tar of Debian {} for images with mmdebstrap", recipe::SUITE));
        bootstrap::debootstrap(
            &arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>(),
            &unfinished,
        )?;
        fs::rename(&unfinished, &tar).during(|| format!("rename `{}`", unfinished.display()))?;
        fs::write(&stamp, recipe).during(|| format!("write `{}`", stamp.display()))?;
    }
    Ok(tar)
}

/// The chroot isolation needs no cgroups and no network, but can't raise the limits that podman asks for.
const BUILD: &str =
    "build --isolation=chroot --ulimit=nofile=1024:1024 --ulimit=nproc=1024:1024 --pull=never";

fn make(image: &Image) -> Result<()> {
    let (name, file) = (local(image.name), format!("{FOLDER}/{}.Containerfile", image.name));
    let mut arguments: Vec<&str> = BUILD.split(' ').collect();
    arguments.extend(["--tag", &name, "--file", &file, FOLDER]);
    podman(&arguments)
}

fn push(name: &str, to: &str) -> Result<()> {
    podman(&["push", &local(name), &format!("{REGISTRY}/{to}")])
}

/// With a store of its own, beside that of root.
fn podman(arguments: &[&str]) -> Result<()> {
    let store = format!("{FOLDER}/store");
    let program = ["podman", "--root", &store, "--runroot", "/run/bed-images"];
    up::inside(&[&program, arguments].concat()).map(drop)
}

fn local(name: &str) -> String {
    format!("localhost/bed/{name}")
}
