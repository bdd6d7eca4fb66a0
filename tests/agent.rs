//! `subgate agent` before a scripted server: who gets a session, how it is renewed, and what happens when the
//! server is away.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;

const ONES: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";
const TWOS: &str = "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA";

const PATIENCE: Duration = Duration::from_secs(60);

/// What the server does with the next request.
#[derive(Clone)]
enum Script {
    /// A session of so many seconds, after a pause.
    Session { seconds: u64, pause: Duration },
    /// The connection is closed without an answer.
    Cut,
    /// A status with that body.
    Refuse(u16, &'static str),
}

/// A server that issues sessions with numbers, from 1 on.
struct Issuer {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    requests: Arc<Mutex<usize>>,
}

impl Issuer {
    fn new(hotkey: &'static str, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(script));
        let requests = Arc::<Mutex<usize>>::default();
        let (current, count) = (Arc::clone(&script), Arc::clone(&requests));
        // Ends with the process: nothing else waits for it.
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = BufReader::new(socket.unwrap());
                let (mut head, mut length) = (String::new(), 0);
                while socket.read_line(&mut head).is_ok_and(|bytes| bytes > 2) {
                    let line = head.lines().last().unwrap().to_ascii_lowercase();
                    length =
                        line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
                }
                socket.read_exact(&mut vec![0; length]).unwrap();
                let number = {
                    let mut count = count.lock().unwrap();
                    *count += 1;
                    *count
                };
                let script = current.lock().unwrap().clone();
                let (status, body) = match script {
                    Script::Session { seconds, pause } => {
                        thread::sleep(pause);
                        (200, session(hotkey, number, seconds))
                    }
                    Script::Cut => continue,
                    Script::Refuse(status, body) => (status, body.to_owned()),
                };
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = socket.get_mut().write_all(answer.as_bytes());
            }
        });
        Self { address, script, requests }
    }

    fn of_seconds(seconds: u64) -> Self {
        Self::new(ONES, lasting(seconds))
    }

    fn does(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    fn count(&self) -> usize {
        *self.requests.lock().unwrap()
    }
}

fn lasting(seconds: u64) -> Script {
    Script::Session { seconds, pause: Duration::ZERO }
}

fn session(hotkey: &str, number: usize, seconds: u64) -> String {
    let expiration = jiff::Timestamp::try_from(SystemTime::now() + Duration::from_secs(seconds)).unwrap();
    format!(
        "{{\"Version\": 1, \"AccessKeyId\": \"{hotkey}\", \"SecretAccessKey\": \"hidden-secret-{number}\",\n\
         \"SessionToken\": \"hidden-token-{number}\", \"Expiration\": \"{expiration:.3}\"}}"
    )
}

/// A home with a cache; the agent and `subgate credentials` run there.
struct Home {
    dir: TempDir,
    endpoint: String,
}

impl Home {
    fn new(issuer: &Issuer) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), endpoint: format!("http://{}", issuer.address) }
    }

    fn token_file(&self) -> PathBuf {
        self.dir.path().join(".cache/subgate/agent-token")
    }

    fn command(&self, name: &str, wallet: &str, more: &[&str]) -> Command {
        let wallets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wallets");
        let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
        command.env_clear().env("HOME", self.dir.path()).stdin(Stdio::null());
        command.args([name, "--wallet-name", wallet, "--endpoint", &self.endpoint, "--wallet-path"]);
        command.arg(wallets).args(more);
        command
    }

    fn agent(&self, more: &[&str]) -> Agent {
        self.agent_of("plain", more)
    }

    fn agent_of(&self, wallet: &str, more: &[&str]) -> Agent {
        let mut command = self.command("agent", wallet, &["--listen", "127.0.0.1:0"]);
        Agent::start(command.args(more))
    }

    /// An agent that does not start: it ends with that code, and one line that has all of `words`.
    #[track_caller]
    fn check_fault(&self, more: &[&str], code: i32, words: &[&str]) {
        let output: Output = self.command("agent", "plain", more).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{more:?}: {line}");
        assert!(output.stdout.is_empty() && line.lines().count() == 1, "{more:?}: {line}");
        for word in words {
            assert!(line.contains(word), "{more:?}: {word:?} is not in {line}");
        }
    }
}

/// A running agent; it ends with this.
struct Agent {
    child: Child,
    address: SocketAddr,
    token: String,
    token_file: PathBuf,
    log: Arc<Mutex<String>>,
}

/// What it answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["cache-control"], "no-store");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The number of the session that is handed out.
    #[track_caller]
    fn number(&self) -> usize {
        assert_eq!(self.status, 200, "{self:?}");
        let json = self.json();
        let number = json["Token"].as_str().unwrap().strip_prefix("hidden-token-").unwrap();
        assert_eq!(json["SecretAccessKey"], format!("hidden-secret-{number}"));
        number.parse().unwrap()
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        assert_eq!((json["code"].as_str(), json.as_object().unwrap().len()), (Some(code), 2));
        assert!(!self.body.contains("hidden"), "{self:?}");
        json["message"].as_str().unwrap().to_owned()
    }
}

impl Agent {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::<Mutex<String>>::default();
        let written = Arc::clone(&log);
        thread::spawn(move || {
            let mut line = String::new();
            while errors.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                written.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut value = |name: &str| {
            let line = lines.next().unwrap_or_else(|| panic!("{}", log.lock().unwrap())).unwrap();
            line.strip_prefix(&format!("export {name}=")).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let url = value("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let token_file = PathBuf::from(value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
        let address = url.strip_prefix("http://").unwrap().strip_suffix("/credentials").unwrap();
        Self {
            child,
            address: address.parse().unwrap(),
            token: std::fs::read_to_string(&token_file).unwrap(),
            token_file,
            log,
        }
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(stream)
    }

    /// A client's request, with other headers than `Accept`.
    fn request(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.send(&format!("{target} HTTP/1.1\r\naccept: application/json\r\n{headers}\r\n"))
    }

    fn get(&self) -> Answer {
        let host = self.address.to_string();
        self.request("GET /credentials", &[("host", &host), ("authorization", &self.token)])
    }

    /// Asks until the answer is as it should be.
    #[track_caller]
    fn until(&self, is_right: impl Fn(&Answer) -> bool) -> Answer {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.get();
            if is_right(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{answer:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it by that signal; gives all that it logged.
    fn stop(mut self, signal: &str) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let began = Instant::now();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
        assert!(began.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(50));
        self.log()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_client_with_the_token_gets_the_session_and_the_log_holds_no_secret() {
    let issuer = Issuer::of_seconds(3600);
    let home = Home::new(&issuer);
    let agent = home.agent(&[]);
    assert_eq!(agent.token_file, home.token_file());
    assert_eq!(agent.token.len(), 43);
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!((mode(&agent.token_file), mode(agent.token_file.parent().unwrap())), (0o600, 0o700));
    let answer = agent.get();
    assert_eq!(answer.number(), 1);
    let json = answer.json();
    assert_eq!(json["AccessKeyId"], ONES);
    assert!(
        json["Expiration"].as_str().is_some_and(|text| text.ends_with('Z') && text.len() == 20),
        "{json}"
    );
    assert_eq!((json.as_object().unwrap().len(), agent.get().number(), issuer.count()), (4, 1, 1));
    let token = agent.token.clone();
    agent.request("GET /credentials", &[("host", "evil.example"), ("authorization", &token)]);
    agent.request("GET /credentials", &[("host", "127.0.0.1"), ("authorization", "guess-of-mine")]);
    let log = agent.stop("-TERM");
    assert!(log.contains("a session is held") && log.contains("a request is refused"), "{log}");
    for secret in ["hidden", &token, "guess-of-mine"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn p71_whoever_lacks_the_token_or_is_a_page_gets_nothing() {
    let issuer = Issuer::of_seconds(3600);
    let home = Home::new(&issuer);
    let mut agent = home.agent(&[]);
    let (host, token) = (agent.address.to_string(), agent.token.clone());
    let named = format!("localhost:{}", agent.address.port());
    let (host, token) = (("host", host.as_str()), ("authorization", token.as_str()));
    let ask = |target: &str, headers: &[(&str, &str)]| agent.request(target, headers);
    let wrong = token.1.replace(&token.1[..1], if token.1.starts_with('A') { "B" } else { "A" });
    for headers in [&[host][..], &[host, ("authorization", "x")], &[host, ("authorization", &wrong)]] {
        ask("GET /credentials", headers).refused(403, "AccessDenied");
        ask("POST /other", headers).refused(403, "AccessDenied");
    }
    for other in ["evil.example", &named, "127.0.0.1:1", "127.0.0.1.evil.example"] {
        ask("GET /credentials", &[("host", other), token]).refused(421, "HostDenied");
    }
    for header in [("origin", "http://127.0.0.1"), ("sec-fetch-site", "cross-site")] {
        ask("GET /credentials", &[host, token, header]).refused(403, "BrowserDenied");
    }
    ask("GET /", &[host, token]).refused(404, "NotFound");
    let answer = ask("PUT /credentials", &[host, token]);
    answer.refused(405, "MethodNotAllowed");
    assert_eq!(answer.headers["allow"], "GET");
    ask("GET /credentials", &[host, token, ("content-length", "5")]).refused(400, "BodyDenied");
    ask("GET /credentials", &[host, token, ("transfer-encoding", "chunked")]).refused(400, "BodyDenied");
    assert_eq!(ask("GET /credentials", &[host, token]).number(), 1);
    assert!(agent.is_running());
}

#[test]
fn what_is_no_request_is_no_harm() {
    let issuer = Issuer::of_seconds(3600);
    let home = Home::new(&issuer);
    let mut agent = home.agent(&[]);
    let long = format!("GET /credentials HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(agent.send(&long).status, 431);
    for text in
        ["\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET /credentials HTTP/9\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"]
    {
        assert_eq!(agent.send(text).status, 400, "{text:?}");
    }
    for half in ["", "GET /cred", "GET /credentials HTTP/1.1\r\nhost: 1"] {
        let mut stream = TcpStream::connect(agent.address).unwrap();
        stream.write_all(half.as_bytes()).unwrap();
    }
    assert_eq!(agent.get().number(), 1);
    assert!(agent.is_running());
}

#[test]
fn p71_it_listens_on_this_machine_alone() {
    let issuer = Issuer::of_seconds(3600);
    let home = Home::new(&issuer);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8077"] {
        home.check_fault(&["--listen", address], 64, &["--listen", address, "127.0.0.1:8077"]);
    }
    home.check_fault(&["--listen", "localhost:8077"], 64, &["--listen"]);
    assert!(!home.token_file().exists());
    let taken = issuer.address.to_string();
    let file = home.token_file();
    home.check_fault(&["--listen", &taken], 73, &["--listen", &taken, file.to_str().unwrap()]);
}

#[test]
fn p71_the_token_is_kept_and_one_that_others_may_know_is_refused() {
    let issuer = Issuer::of_seconds(3600);
    let home = Home::new(&issuer);
    let file = home.dir.path().join("my token");
    let chosen = ["--token-file", file.to_str().unwrap(), "--no-cache"];
    let mut command = home.command("agent", "plain", &["--listen", "127.0.0.1:0"]);
    let mut child = command.args(chosen).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().take(2).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // For a shell, quoted.
    assert!(lines[1].ends_with(&format!("='{}'", file.display())), "{lines:?}");
    let token = std::fs::read_to_string(&file).unwrap();
    std::fs::rename(&file, home.dir.path().join("token")).unwrap();
    let file = home.dir.path().join("token");
    let chosen = ["--token-file", file.to_str().unwrap()];
    let agent = home.agent(&chosen);
    assert_eq!((&agent.token, agent.get().status), (&token, 200));
    agent.stop("-INT");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    home.check_fault(&[&["--listen", "127.0.0.1:0"], &chosen[..]].concat(), 65, &["others can open it"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, format!("{token}\n")).unwrap();
    home.check_fault(&[&["--listen", "127.0.0.1:0"], &chosen[..]].concat(), 65, &["43 characters", "remove"]);
}

#[test]
fn a_session_is_renewed_before_its_end_though_nobody_asks() {
    // A short session is renewed after a quarter of its life.
    let issuer = Issuer::of_seconds(12);
    let home = Home::new(&issuer);
    let agent = home.agent(&[]);
    assert_eq!(agent.until(|answer| answer.status == 200).number(), 1);
    let end = Instant::now() + PATIENCE;
    while issuer.count() < 3 {
        assert!(Instant::now() < end, "{}", agent.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(agent.until(|answer| answer.number() > 2).number() <= issuer.count());
}

#[test]
fn a_kept_session_with_few_minutes_left_is_handed_out_until_the_new_one_is_there() {
    let issuer = Issuer::of_seconds(19 * 60);
    let home = Home::new(&issuer);
    assert!(home.command("credentials", "plain", &[]).output().unwrap().status.success());
    issuer.does(Script::Session { seconds: 3600, pause: Duration::from_secs(4) });
    let agent = home.agent(&[]);
    assert_eq!(agent.get().number(), 1);
    assert_eq!(agent.until(|answer| answer.number() == 2).number(), 2);
    agent.stop("-TERM");
    // What it got is kept for `credentials`, and for the next agent.
    let printed = home.command("credentials", "plain", &[]).output().unwrap().stdout;
    assert!(String::from_utf8(printed).unwrap().contains("hidden-token-2"));
    let agent = home.agent(&[]);
    assert_eq!((agent.get().number(), issuer.count()), (2, 2));
}

#[test]
fn twenty_clients_at_once_make_one_session() {
    let issuer = Issuer::new(ONES, Script::Session { seconds: 3600, pause: Duration::from_millis(300) });
    let home = Home::new(&issuer);
    let agent = home.agent(&["--no-cache"]);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(agent.until(|answer| answer.status == 200).number(), 1));
        }
    });
    assert_eq!(issuer.count(), 1);
}

#[test]
fn a_client_is_answered_in_time_though_the_server_is_not() {
    let issuer = Issuer::new(ONES, Script::Session { seconds: 3600, pause: Duration::from_secs(5) });
    let home = Home::new(&issuer);
    let agent = home.agent(&["--no-cache"]);
    let began = Instant::now();
    let answer = agent.get();
    // aws-sdk-js waits for one second.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    answer.refused(503, "SessionUnavailable");
    assert_eq!(agent.until(|answer| answer.status == 200).number(), 1);
    assert_eq!(issuer.count(), 1);
}

#[test]
fn an_outage_of_the_server_is_felt_only_when_the_session_has_ended() {
    let issuer = Issuer::of_seconds(8);
    let home = Home::new(&issuer);
    let mut agent = home.agent(&["--no-cache"]);
    let held = agent.until(|answer| answer.status == 200);
    issuer.does(Script::Cut);
    let expiration: jiff::Timestamp = held.json()["Expiration"].as_str().unwrap().parse().unwrap();
    while jiff::Timestamp::now().as_second() < expiration.as_second() - 1 {
        assert_eq!(agent.get().status, 200, "{}", agent.log());
        thread::sleep(Duration::from_millis(200));
    }
    let answer = agent.until(|answer| answer.status != 200);
    let message = answer.refused(503, "SessionUnavailable");
    assert!(message.contains(&issuer.address.to_string()), "{message}");
    assert_eq!(answer.headers["retry-after"], "2");
    // However often clients ask, the server is spared.
    let before = issuer.count();
    for _ in 0..50 {
        agent.get().refused(503, "SessionUnavailable");
    }
    assert!(issuer.count() - before < 10, "{} attempts", issuer.count() - before);
    issuer.does(lasting(3600));
    agent.until(|answer| answer.status == 200);
    assert!(agent.is_running() && agent.log().contains("no new session"), "{}", agent.log());
}

#[test]
fn without_a_server_the_agent_starts_and_says_so() {
    let issuer = Issuer::new(ONES, Script::Cut);
    let home = Home::new(&issuer);
    let agent = home.agent(&[]);
    agent.until(|answer| answer.status == 503 && answer.body.contains("cannot be reached"));
    issuer.does(lasting(3600));
    agent.until(|answer| answer.status == 200);
}

#[test]
fn a_hotkey_that_the_server_refuses_gets_its_reason() {
    let issuer = Issuer::new(ONES, Script::Refuse(403, "{\"detail\": \"NotRegistered: register it\"}"));
    let home = Home::new(&issuer);
    let mut agent = home.agent(&[]);
    let answer = agent.until(|answer| answer.status == 403);
    let message = answer.refused(403, "SessionRefused");
    assert!(message.contains("answered 403: NotRegistered: register it"), "{message}");
    let before = issuer.count();
    for _ in 0..50 {
        agent.get().refused(403, "SessionRefused");
    }
    assert!(issuer.count() - before < 3 && agent.is_running());
    // It is registered meanwhile.
    issuer.does(lasting(3600));
    agent.until(|answer| answer.status == 200);
}

#[test]
fn slow_clients_lose_their_places() {
    let issuer = Issuer::of_seconds(3600);
    let home = Home::new(&issuer);
    let agent = home.agent(&[]);
    assert_eq!(agent.get().number(), 1);
    let began = Instant::now();
    let slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address).unwrap();
            stream.write_all(b"GET /credentials HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(agent.get().number(), 1);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.contains("200 OK") && !answer.contains("hidden"), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn the_password_is_needed_at_the_start_alone() {
    let issuer = Issuer::new(TWOS, lasting(12));
    let home = Home::new(&issuer);
    let password = home.dir.path().join("password");
    std::fs::write(&password, "correct horse battery\n").unwrap();
    let agent = home.agent_of("sealed", &["--password-file", password.to_str().unwrap()]);
    std::fs::remove_file(&password).unwrap();
    agent.until(|answer| answer.status == 200 && answer.number() > 1);
}
