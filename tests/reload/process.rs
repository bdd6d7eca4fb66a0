//! The program itself: SIGHUP, and files that change under it.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use tempfile::TempDir;

/// Loaded machines are slow; a failure takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

const KEY: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";

/// A running `subgate serve` with files of its own.
struct Process {
    child: Child,
    log: Receiver<String>,
    dir: TempDir,
}

impl Process {
    /// Starts it with these lines in `[server]`, and waits until it serves.
    fn start(server: &str) -> Self {
        Self::start_with(server, &[])
    }

    /// The same with those variables in its environment.
    fn start_with(server: &str, variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("store.json", r#"{"access_key": "AK", "secret_key": "hunter2"}"#),
            ("other.json", r#"{"access_key": "AK", "secret_key": "hunter2"}"#),
            ("a.key", KEY),
            ("b.key", KEY),
            ("registry.json", r#"{"identities": []}"#),
        ] {
            write(&dir.path().join(name), text);
        }
        write(&dir.path().join("proxy.toml"), &text(server, &["a"], ""));
        let mut child = Command::new(env!("CARGO_BIN_EXE_subgate"))
            .args(["serve", "--config", dir.path().join("proxy.toml").to_str().unwrap()])
            .env_clear()
            .env("SUBGATE_LOG", "info")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut process = Self { child, log, dir };
        process.wait_for("accepting connections");
        process
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The lines of the log up to one with these words.
    fn wait_for(&mut self, words: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains(words)) {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(error) => panic!("{words:?} is not logged ({error}): {lines:#?}"),
            }
        }
        let log = lines.join("\n");
        assert!(!log.contains("hunter2") && !log.contains(KEY), "{log}");
        lines
    }

    fn stop(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn text(server: &str, keys: &[&str], more: &str) -> String {
    let keys = keys.iter().map(|id| format!("{{ id = \"{id}\", file = \"{id}.key\" }}"));
    let keys: Vec<String> = keys.collect();
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{server}\n[bucket]\nname = \"data-universe\"\n[store]\n\
         endpoint = \"http://127.0.0.1:9\"\ncredentials = {{ file = \"store.json\" }}\n[session]\n\
         issue_with = \"a\"\nallow_no_receiver = true\nkeys = [{}]\n\
         [chain]\nfile = \"registry.json\"\n{more}\n",
        keys.join(", ")
    )
}

#[test]
fn a_reload_reads_the_file_under_the_same_environment() {
    let variables = [
        ("SUBGATE_SERVER__WATCH_SECONDS", "0"),
        ("SUBGATE_LIMITS__OBJECT_BYTES_MIN", "7"),
        // A file that the environment alone names.
        ("SUBGATE_STORE__CREDENTIALS__FILE", "other.json"),
    ];
    let mut process = Process::start_with("", &variables);
    write(&process.path("proxy.toml"), &text("hosts = [\"one\"]", &["a"], "[limits]\nobject_bytes_min = 5"));
    process.signal("-HUP");
    let log = process.wait_for("the configuration was reloaded").join("\n");
    assert!(log.contains("configuration: server.hosts: not set"), "{log}");
    assert!(!log.contains("object_bytes_min") && !log.contains("watch_seconds"), "{log}");
    write(&process.path("other.json"), r#"{"access_key": "AK2", "secret_key": "hunter2"}"#);
    process.signal("-HUP");
    let log = process.wait_for("the configuration was reloaded").join("\n");
    assert!(log.contains("store.credentials.file: the content of "), "{log}");
    process.stop();
}

#[test]
fn sighup_reloads_tells_the_difference_and_never_ends_the_process() {
    let mut process = Process::start("watch_seconds = 0");
    process.signal("-HUP");
    process.wait_for("nothing was reloaded");
    let config = process.path("proxy.toml");
    write(
        &config,
        &text("watch_seconds = 0\nadmin = \"127.0.0.1:1\"", &["a", "b"], "[limits]\nobject_bytes_min = 5"),
    );
    process.signal("-HUP");
    let log = process.wait_for("the configuration was reloaded").join("\n").replace("\\\"", "\"");
    for told in [
        "configuration: limits.object_bytes_min: not set -> 5",
        "configuration: session.keys: + b",
        "configuration: server.admin: not set -> \"127.0.0.1:1\"; this needs a restart",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    // Every fault, and none of it counts.
    write(&config, &text("watch_seconds = -1", &["a", "c"], "[limits]\nobject_bytes_min = 6"));
    process.signal("-HUP");
    let log = process.wait_for("the configuration was not reloaded").join("\n");
    assert!(
        log.contains("server.watch_seconds: -1 is not") && log.contains("session.keys[1].file: "),
        "{log}"
    );
    write(&config, &text("watch_seconds = 0", &["a"], ""));
    for _ in 0..20 {
        process.signal("-HUP");
    }
    let log = process.wait_for("the configuration was reloaded").join("\n");
    assert!(log.contains("session.keys: - b") && log.contains("object_bytes_min: 5 -> not set"), "{log}");
    process.stop();
}

#[test]
fn changed_files_reload_by_themselves_and_nothing_hangs_on_what_is_no_file() {
    let mut process = Process::start("watch_seconds = 1");
    let config = process.path("proxy.toml");
    let watched = |more: &str| text("watch_seconds = 1", &["a"], more);
    write(&config, &watched("[limits]\nobject_bytes_min = 5"));
    process.wait_for("the configuration was reloaded");
    // Kubernetes: the path is a link to a directory that is swapped.
    let (old, new) = (process.path("old"), process.path("new"));
    for (dir, bytes) in [(&old, 6), (&new, 7)] {
        std::fs::create_dir(dir).unwrap();
        write(&dir.join("proxy.toml"), &watched(&format!("[limits]\nobject_bytes_min = {bytes}")));
    }
    symlink("old", process.path("data")).unwrap();
    symlink("data/proxy.toml", process.path("link")).unwrap();
    std::fs::rename(process.path("link"), &config).unwrap();
    let log = process.wait_for("the configuration was reloaded").join("\n");
    assert!(log.contains("object_bytes_min: 5 -> 6"), "{log}");
    symlink("new", process.path("next")).unwrap();
    std::fs::rename(process.path("next"), process.path("data")).unwrap();
    let log = process.wait_for("the configuration was reloaded").join("\n");
    assert!(log.contains("object_bytes_min: 6 -> 7"), "{log}");
    // A secret's file, told without what it holds.
    write(&process.path("a.key"), &KEY.replace("0f", "1e"));
    let log = process.wait_for("the configuration was reloaded").join("\n");
    assert!(log.contains("session.keys[a].file: the content of ") && !log.contains("1e1e"), "{log}");
    // A pipe to which nobody writes, and a directory.
    std::fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    let log = process.wait_for("the configuration was not reloaded").join("\n");
    assert!(log.contains("is not a regular file"), "{log}");
    std::fs::remove_file(&config).unwrap();
    std::fs::create_dir(&config).unwrap();
    process.wait_for("the configuration was not reloaded");
    std::fs::remove_dir(&config).unwrap();
    // A file that is missing is looked for as well.
    write(&config, &text("watch_seconds = 1", &["a", "c"], ""));
    process.wait_for("the configuration was not reloaded");
    write(&process.path("c.key"), KEY);
    let log = process.wait_for("the configuration was reloaded").join("\n");
    assert!(log.contains("session.keys: + c"), "{log}");
    process.stop();
}

#[test]
fn sighup_during_the_start_and_the_end_changes_nothing() {
    let mut process = Process::start("watch_seconds = 0\ndrain_announce_seconds = 1");
    process.signal("-HUP");
    process.wait_for("nothing was reloaded");
    process.signal("-TERM");
    process.signal("-HUP");
    process.signal("-HUP");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
}
