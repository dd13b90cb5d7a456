//! Which network a job gets, and what it reaches from there.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use end_to_end::bed::{REGISTRY, image};
use end_to_end::executor::{BUILD_FAILURE, Job, SYSTEM_FAILURE, Site};
use serde_json::{Value, json};

use crate::LevelTest;
use crate::services::site;

pub(crate) const TESTS: &[LevelTest] = &[
    ("network: the host's without services, its own where it is asked for", chosen),
    ("network: of the node's loopback only GitLab and its registry", loopback),
    ("network: services in the host's", shared),
    ("network: a port that another process has", taken_port),
    ("network: two services on one port of one network", shared_port),
    ("network: a node without pasta", without_pasta),
    ("network: a kernel without bridges", without_bridge),
    ("network: out of the node, by address and by name, from the script and from a service", outside),
    ("network: every user may listen on a low port of the job's own", low_ports),
];

/// A server on `port` that shows a file of its own.
fn server(alias: &str, port: u16) -> Value {
    json!({ "name": image("busybox"), "alias": alias,
        "command": ["sh", "-c", format!("exec httpd -f -p {port} -h /etc")],
        "variables": [{ "key": "HEALTHCHECK_TCP_PORT", "value": port.to_string() }] })
}

/// A port that nobody has now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

const DEVICES: &str = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '";

fn chosen(level: &str) {
    let network = |executor: &str| {
        let site = site(level, executor);
        let job = site.job(&image("busybox"), json!({}));
        let log = job.prepare().success();
        let line = log.lines().find(|line| line.starts_with("Using Apptainer")).unwrap_or_default();
        let devices = job.run("build_script", DEVICES).success();
        let helper = job.run("get_sources", DEVICES).success();
        job.cleanup().success();
        (line.rsplit("network: ").next().unwrap_or_default().to_owned(), devices, helper)
    };
    let expect = |name: &str, devices: &str| (name.to_owned(), devices.to_owned(), "lo ".to_owned());
    assert_eq!(network(""), expect("host", "lo "));
    assert_eq!(network("network = \"host\""), expect("host", "lo "));
    assert_eq!(network("network = \"own\""), expect("own", "lo pasta0 services "));
}

fn loopback(level: &str) {
    let site = site(level, "network = \"own\"");
    let ask = format!("wget -T 3 -qO- http://{REGISTRY}/v2/ 2>/dev/null && echo reached || echo not reached");
    // A job may say so where GitLab has no registry.
    let variables = json!({ "variables": [{ "key": "CI_REGISTRY", "value": REGISTRY, "public": true }] });
    let closed = site.job(&image("busybox"), variables).prepared();
    assert_eq!(closed.run("build_script", &ask).success(), "not reached\n");
    let credentials =
        json!({ "credentials": [{ "type": "registry", "url": REGISTRY, "username": "u", "password": "p" }] });
    let open = site.job(&image("busybox"), credentials).prepared();
    assert_eq!(open.run("build_script", &ask).success(), "{}reached\n");
}

fn shared(level: &str) {
    let port = free_port();
    let site = site(level, "network = \"host\"");
    let job = site.job(&image("busybox"), json!({ "services": [server("web", port)] }));
    let log = job.prepare().success();
    assert!(log.contains("network: host, shared by the services\n"), "{log}");
    let script = format!("wget -qO- http://web:{port}/hostname; grep web /etc/hosts");
    let log = job.run("build_script", &script).success();
    assert_eq!(log, "busybox-0\n127.0.0.1 127.0.0.1__busybox 127.0.0.1-busybox web\n");
    job.cleanup().success();
    TcpListener::bind(("127.0.0.1", port)).expect("nobody listens there any more");
}

fn taken_port(level: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    for more in ["", "wait_for_services_timeout = 0\n"] {
        let site = site(level, &format!("{more}network = \"host\""));
        let ended = site.job(&image("busybox"), json!({ "services": [server("web", port)] })).prepare();
        ended.failed(SYSTEM_FAILURE, &format!("another process of this node listens on port {port}"));
    }
}

fn shared_port(level: &str) {
    let port = free_port();
    let services = || json!({ "services": [server("one", port), server("two", port)] });
    let host = site(level, "network = \"host\"");
    let ended = host.job(&image("busybox"), services()).prepare();
    ended.failed(BUILD_FAILURE, &format!("both listen on port {port}"));
    let own = site(level, "");
    own.job(&image("busybox"), services()).prepared();
}

fn without_pasta(level: &str) {
    let path = |site: &Site| {
        let directory = site.path().join("bin");
        fs::create_dir(&directory).expect("the site is new");
        for place in ["/usr/local/bin", "/usr/bin", "/usr/sbin"] {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                if !entry.file_name().to_string_lossy().starts_with("pasta") {
                    // Of programs that are in two places the first counts.
                    let _ = symlink(entry.path(), directory.join(entry.file_name()));
                }
            }
        }
        directory.display().to_string()
    };
    let auto = site(level, "");
    let services = json!({ "services": [server("web", free_port())] });
    let log =
        auto.job(&image("busybox"), services).with_environment("PATH", &path(&auto)).prepare().success();
    assert!(
        log.contains("network: host, shared by the services (`pasta` (package passt) is not installed)\n"),
        "{log}"
    );
    let own = site(level, "network = \"own\"");
    let ended = own.job(&image("busybox"), json!({})).with_environment("PATH", &path(&own)).prepare();
    ended.failed(
        SYSTEM_FAILURE,
        "this node gives a job no network of its own: `pasta` (package passt) is not installed",
    );
}

/// A node with a way out, which the bed is not: namespaces in which there is one, with two servers behind it, one for pages and
/// one for names.
const NODE: &str = r#"
unshare --net sleep 1000 & outside=$!
until [ "$(readlink /proc/$outside/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
ip -batch - <<END
link set lo up
link add site type veth peer name far netns $outside
addr add 192.0.2.1/24 dev site
link set site up
route add default via 192.0.2.2
END
nsenter --net --target $outside ip -batch - <<END
addr add 192.0.2.2/24 dev far
addr add 203.0.113.9/32 dev far
link set far up
END
mkdir -p /tmp/page && echo from the outside > /tmp/page/index.html
nsenter --net --target $outside busybox httpd -p 203.0.113.9:80 -h /tmp/page
nsenter --net --target $outside python3 -c "$NAMES" & names=$!
printf 'search site.test\nnameserver 203.0.113.9\n' > "$SITE/resolv.conf"
mount --bind "$SITE/resolv.conf" /etc/resolv.conf
# Of the ids that this namespace has, the job may have all but root's.
echo root:1:65536 > "$SITE/subordinate"
mount --bind "$SITE/subordinate" /etc/subuid
mount --bind "$SITE/subordinate" /etc/subgid
"#;

/// A name server that knows one address, and answers all else with an error.
const NAMES: &str = r#"
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("203.0.113.9", 53))
while True:
    query, sender = server.recvfrom(512)
    end = query.index(b"\0", 12) + 5
    known = query[12:end - 4] == b"\x04page\x04site\x04test\0"
    is_address = query[end - 4:end] == b"\0\x01\0\x01"
    flags = b"\x81\x80" if known else b"\x81\x83"
    count = b"\0\x01" if known and is_address else b"\0\0"
    answer = query[:2] + flags + b"\0\x01" + count + b"\0\0\0\0" + query[12:end]
    if known and is_address:
        answer += b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton("203.0.113.9")
    server.sendto(answer, sender)
"#;

/// By address and by name, from the script and from a service; at both levels, since pasta has other rights in each.
fn outside(level: &str) {
    let site = site(level, "pull_policy = \"if-not-present\"");
    let fetch = "until wget -T 3 -qO /builds/service http://page.site.test/; do sleep 0.1; done; sleep 1000";
    let service = json!({ "name": image("busybox"), "command": ["sh", "-c", fetch] });
    // The image is pulled here: the namespace does not have the registry.
    site.job(&image("busybox"), json!({})).prepared().cleanup().success();
    let job = site.job(&image("busybox"), json!({ "services": [service] }));
    let script = job.script(
        "until [ -s /builds/service ]; do sleep 0.1; done; cat /builds/service\n\
         for host in 203.0.113.9 page.site.test page; do wget -T 3 -qO- http://$host/; done\n\
         wget -T 3 -qO- http://nobody.site.test/ 2>&1 || true\n",
    );
    let calls =
        [call(&job, &["prepare"]), call(&job, &["run", &script, "build_script"]), call(&job, &["cleanup"])]
            .join(" && ");
    // What the node was found to be outside does not hold there.
    let mut node = Command::new("unshare");
    node.args(["--map-auto", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc"]);
    node.args(["--kill-child", "sh", "-c"]);
    node.arg(format!("{NODE}rm \"$SITE\"/node/*.node.json\n{calls}"));
    node.envs(job.command(&["prepare"]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    node.env("NAMES", NAMES).env("SITE", site.path());
    let output = node.output().expect("unshare starts");
    let log =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{log}");
    assert!(
        log.contains(&format!("isolation level {level}, network: own, an address for each service")),
        "{log}"
    );
    assert_eq!(log.matches("from the outside\n").count(), 4, "{log}");
    assert!(log.contains("bad address 'nobody.site.test'"), "{log}");
}

/// A kernel without bridges: `ip` says so.
fn without_bridge(level: &str) {
    let site = site(level, "");
    let bin = site.path().join("bin");
    fs::create_dir(&bin).expect("the site is new");
    let ip = "#!/bin/sh\ntext=$(cat)\ncase $text in *bridge*) echo 'RTNETLINK answers: Operation not supported' >&2; exit 2 ;; esac\n\
        echo \"$text\" | exec /usr/bin/ip \"$@\"\n";
    fs::write(bin.join("ip"), ip).expect("the directory is new");
    fs::set_permissions(bin.join("ip"), PermissionsExt::from_mode(0o755)).expect("the file is ours");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    // A port that another process has in the host's network is free in the job's.
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    let job = site.job(&image("busybox"), json!({ "services": [server("web", port)] }));
    let job = job.with_environment("PATH", &path);
    let log = job.prepare().success();
    assert!(log.contains("network: own, shared by the services (this kernel makes no bridge)\n"), "{log}");
    assert!(!log.contains("WARNING"), "{log}");
    let fetch = format!("wget -qO- http://web:{port}/hostname");
    assert_eq!(job.run("build_script", &fetch).success(), "busybox-0\n");
    let two = json!({ "services": [server("one", port), server("two", port)] });
    let ended = site.job(&image("busybox"), two).with_environment("PATH", &path).prepare();
    ended.failed(BUILD_FAILURE, &format!("both listen on port {port}"));
}

/// As in docker's containers, whatever the user.
fn low_ports(level: &str) {
    let site = site(level, "network = \"own\"");
    let job = site.job(&image("user"), json!({})).prepared();
    let script = "httpd -p 127.0.0.1:80 -h /etc && wget -qO- http://127.0.0.1/hostname | wc -l";
    assert_eq!(job.run("build_script", script).success(), "1\n");
}

/// A call of the executor as a line for a shell.
fn call(job: &Job<'_>, words: &[&str]) -> String {
    let command = job.command(words);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}
