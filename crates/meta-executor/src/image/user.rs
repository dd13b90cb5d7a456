//! Whom an image's scripts run as: `USER` of the image or `docker: user:` of the job, looked up in the image's own files.

use std::path::Path;

use crate::rooted;
use crate::state::ImageUser;

/// What is read of a file, in bytes. A list of users that is longer is none.
const MOST: u64 = 1 << 20;

/// Resolves `user` (`name`, `uid`, `name:group`, `uid:gid`, or empty for root) in the image at `rootfs`.
///
/// `None` if a name is not in the image. A number needs no entry, as in docker.
pub(crate) fn resolve(user: &str, rootfs: &Path) -> Option<ImageUser> {
    resolve_in(user, &passwd(rootfs), &read_inside(rootfs, "etc/group"))
}

/// The user that a service becomes by itself, as far as its image tells: the one who is at home where the image keeps its data
/// (`volumes`), or the one who is called like the image (`name`, without registry and version).
pub(crate) fn of_service<'a>(name: &str, volumes: &[String], passwd: &'a str) -> Option<&'a str> {
    let users: Vec<Vec<&str>> =
        entries(passwd).filter(|fields| fields.get(2).is_some_and(|uid| *uid != "0")).collect();
    let keeps_data = |fields: &&Vec<&str>| {
        let home = Path::new(fields.get(5).copied().unwrap_or_default());
        home.parent().is_some() && volumes.iter().any(|volume| Path::new(volume).starts_with(home))
    };
    let is_namesake = |fields: &&Vec<&str>| fields.first() == Some(&name);
    let user = users.iter().find(keeps_data).or_else(|| users.iter().find(is_namesake))?;
    user.first().copied()
}

/// `/etc/passwd` of the image at `rootfs`; empty if it has none.
pub(crate) fn passwd(rootfs: &Path) -> String {
    read_inside(rootfs, "etc/passwd")
}

/// A file of the image. What cannot be read has no names in it.
fn read_inside(rootfs: &Path, path: &str) -> String {
    let root = rooted::open_root(rootfs).map_err(std::io::Error::from);
    root.and_then(|root| rooted::read(&root, Path::new(path), MOST)).unwrap_or_default()
}

fn resolve_in(user: &str, passwd: &str, group: &str) -> Option<ImageUser> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = entries(passwd).find(|fields| fields.first() == Some(&user) || fields.get(2) == Some(&user));
    let (uid, primary, home) = match &entry {
        Some(fields) => (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?, *fields.get(5)?),
        None => (user.parse().ok()?, 0, if user == "0" { "/root" } else { "/" }),
    };
    let gid = match wanted_group {
        None => primary,
        Some(wanted) => match wanted.parse() {
            Ok(gid) => gid,
            Err(_) => entries(group).find(|fields| fields.first() == Some(&wanted))?.get(2)?.parse().ok()?,
        },
    };
    // As docker: who names a group gets that one alone.
    let member = entry.as_ref().and_then(|fields| fields.first()).filter(|_| wanted_group.is_none());
    let groups = member.map(|name| groups_of(name, group).filter(|group| *group != gid).collect());
    let home = if home.is_empty() { "/" } else { home };
    Some(ImageUser { uid, gid, groups: groups.unwrap_or_default(), home: home.to_owned() })
}

/// The groups that have the user `name` in their list of members.
fn groups_of(name: &str, group: &str) -> impl Iterator<Item = u32> {
    let is_member =
        move |fields: &Vec<&str>| fields.get(3)?.split(',').find(|member| *member == name).map(drop);
    entries(group).filter_map(move |fields| is_member(&fields).and(fields.get(2)?.parse().ok()))
}

fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_resolved_in_the_image() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1234:1234::/home/app:/bin/sh\n";
        let group = "root:x:0:\nvideo:x:44:app\n";
        let check = |user: &str, expected: Option<(u32, u32, &str)>| {
            let found = resolve_in(user, passwd, group);
            assert_eq!(
                found.as_ref().map(|user| (user.uid, user.gid, user.home.as_str())),
                expected,
                "{user}"
            );
        };
        check("", Some((0, 0, "/root")));
        check("app", Some((1234, 1234, "/home/app")));
        check("1234", Some((1234, 1234, "/home/app")));
        check("app:video", Some((1234, 44, "/home/app")));
        check("4321", Some((4321, 0, "/")));
        check("4321:99", Some((4321, 99, "/")));
        check("nobody-here", None);
        check("app:none", None);
    }

    #[test]
    fn members_of_groups_are_in_them_unless_a_group_is_named() {
        let passwd = "app:x:1234:1234::/home/app:/bin/sh\n";
        let group = "app:x:1234:app\nvideo:x:44:other,app\nrender:x:106:apple\nempty:x:7:\nbroken:x\n";
        let groups = |user: &str| resolve_in(user, passwd, group).unwrap().groups;
        assert_eq!((groups("app"), groups("1234")), (vec![44], vec![44]));
        assert_eq!((groups("app:render"), groups("4321")), (vec![], vec![]));
    }

    #[test]
    fn a_service_becomes_who_has_its_data_or_its_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nwww-data:x:33:33::/var/www:/bin/sh\n\
            mysql:x:999:999::/var/lib/mysql:/bin/sh\nredis:x:998:998::/home/redis:/bin/sh\nbroken\n:::::\nempty:x:5:5\n";
        let check = |name: &str, volumes: &[&str], expected: Option<&str>| {
            let volumes: Vec<String> = volumes.iter().map(|&volume| volume.to_owned()).collect();
            assert_eq!(of_service(name, &volumes, passwd), expected, "{name} {volumes:?}");
        };
        check("mariadb", &["/var/lib/mysql"], Some("mysql"));
        check("wordpress", &["/var/www/html"], Some("www-data"));
        check("redis", &["/data"], Some("redis"));
        check("redis", &[], Some("redis"));
        check("root", &["/root/.cache", "/"], None);
        check("busybox", &["/var/lib/mysql2"], None);
    }

    #[test]
    fn files_that_are_links_are_read_in_the_image() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        std::fs::create_dir_all(image.join("usr/etc")).unwrap();
        std::os::unix::fs::symlink("/usr/etc", image.join("etc")).unwrap();
        std::os::unix::fs::symlink("users", image.join("usr/etc/passwd")).unwrap();
        let mut users = std::fs::File::create(image.join("usr/etc/users")).unwrap();
        std::io::Write::write_all(&mut users, b"app:x:1234:5:::\n").unwrap();
        assert_eq!(resolve("app", &image).map(|user| (user.uid, user.gid)), Some((1234, 5)));
    }

    #[test]
    fn an_image_without_passwd_has_a_root() {
        assert_eq!(resolve_in("", "", "").map(|user| user.home), Some("/root".to_owned()));
    }
}
