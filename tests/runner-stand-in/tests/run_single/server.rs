//! A canned GitLab: hands out its jobs one after the other, keeps what it is told, and answers as a test wants.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) jobs: VecDeque<Value>,
    /// `METHOD path` of each call.
    pub(crate) calls: Vec<String>,
    /// The body of each job update, with the job's id, without `info`.
    pub(crate) updates: Vec<(u64, Value)>,
    pub(crate) log: Vec<u8>,
    /// Answers instead of the usual, by method: consumed one by one.
    pub(crate) scripted: HashMap<&'static str, VecDeque<Scripted>>,
    /// The `Job-Status` of each answer to a log chunk and to an update.
    pub(crate) job_status: String,
    /// Uploaded: query and content of the part.
    pub(crate) uploads: Vec<(String, Vec<u8>)>,
    /// For download.
    pub(crate) artifact: Vec<u8>,
}

/// A status and headers.
pub(crate) type Scripted = (u16, Vec<(&'static str, String)>);

pub(crate) struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start(jobs: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { jobs: jobs.into(), ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.state().log.clone()).unwrap()
    }

    /// The last update: state, failure reason, exit code.
    pub(crate) fn outcome(&self) -> (String, String, i64) {
        let state = self.state();
        let (_, update) = state.updates.last().expect("no update came");
        let text = |key: &str| update[key].as_str().unwrap_or("").to_owned();
        (text("state"), text("failure_reason"), update["exit_code"].as_i64().unwrap_or(0))
    }
}

struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader) {
        let (code, headers, body) = answer(&request, &mut state.lock().unwrap());
        let mut head = format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n", body.len());
        for (key, value) in headers {
            head.push_str(&format!("{key}: {value}\r\n"));
        }
        if stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(&body)).is_err()
        {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((key, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(key.to_lowercase(), value.to_owned());
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            reader.by_ref().take(size).read_to_end(&mut body).ok()?;
            reader.read_line(&mut String::new()).ok()?;
            if size == 0 {
                break;
            }
        }
    } else {
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        reader.by_ref().take(length).read_to_end(&mut body).ok()?;
    }
    Some(Request { method, path, headers, body })
}

type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

fn answer(request: &Request, state: &mut State) -> Answer {
    state.calls.push(format!("{} {}", request.method, request.path));
    let status = vec![("Job-Status", state.job_status.clone())];
    let id = request.path.split('/').nth(4).and_then(|id| id.parse().ok()).unwrap_or(0);
    if request.method == "PUT" {
        let mut body: Value = serde_json::from_slice(&request.body).unwrap();
        body.as_object_mut().unwrap().remove("info");
        state.updates.push((id, body));
    }
    if let Some((code, headers)) =
        state.scripted.get_mut(request.method.as_str()).and_then(VecDeque::pop_front)
    {
        return (code, headers, Vec::new());
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/api/v4/jobs/request") => match state.jobs.pop_front() {
            Some(job) => {
                (201, vec![("Content-Type", "application/json".into())], job.to_string().into_bytes())
            }
            None => (204, Vec::new(), Vec::new()),
        },
        ("PUT", _) => (200, status, Vec::new()),
        ("PATCH", _) => {
            let range = &request.headers["content-range"];
            let start: usize = range.split('-').next().unwrap().parse().unwrap();
            state.log.truncate(start);
            state.log.extend_from_slice(&request.body);
            let mut headers = status;
            headers.push(("Range", format!("0-{}", state.log.len())));
            (202, headers, Vec::new())
        }
        ("POST", path) => {
            let part = part_content(&request.body);
            state.uploads.push((path.split_once('?').map_or("", |(_, query)| query).to_owned(), part));
            (201, Vec::new(), Vec::new())
        }
        ("GET", _) => (200, Vec::new(), state.artifact.clone()),
        _ => (404, Vec::new(), Vec::new()),
    }
}

/// The content of the only part of a multipart body.
fn part_content(body: &[u8]) -> Vec<u8> {
    let find = |needle: &[u8], from: usize| {
        body[from..].windows(needle.len()).position(|window| window == needle).map(|at| from + at)
    };
    let line_end = find(b"\r\n", 0).unwrap();
    let start = find(b"\r\n\r\n", 0).unwrap() + 4;
    let boundary = [b"\r\n", &body[..line_end]].concat();
    body[start..find(&boundary, start).unwrap()].to_vec()
}
