//! What the packages are made of says the same as `Cargo.toml` does, and is there. `tests/packages` builds
//! them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it stands")]

use std::{path::Path, process::Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn table(path: &str) -> toml::Table {
    read(path).parse().unwrap()
}

/// The values of a setting of a unit, in their order.
fn values<'u>(unit: &'u str, setting: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('=')).collect()
}

#[test]
fn the_wheel_is_described_as_the_crate_is() {
    let (cargo, python) = (table("Cargo.toml"), table("pyproject.toml"));
    let (package, project) = (&cargo["package"], &python["project"]);
    for name in ["name", "description", "license", "keywords"] {
        assert_eq!(package[name], project[name], "{name}");
    }
    // The version is Cargo's.
    assert_eq!(project["dynamic"].as_array().unwrap(), &[toml::Value::from("version")]);
    let files = project["license-files"].as_array().unwrap().iter().chain([&project["readme"]]);
    for file in files {
        assert!(root().join(file.as_str().unwrap()).is_file(), "{file}");
    }
    assert!(project.get("dependencies").is_none());
}

#[test]
fn the_debian_package_is_of_this_version_and_its_files_are_there() {
    let cargo = table("Cargo.toml");
    let package = &cargo["package"];
    let changelog = read("deploy/debian/changelog");
    let version = package["version"].as_str().unwrap();
    assert!(changelog.starts_with(&format!("subgate ({version}-1) ")), "{changelog}");
    let assets = package["metadata"]["deb"]["assets"].as_array().unwrap();
    let own = assets.iter().map(|asset| asset[0].as_str().unwrap());
    for path in own.filter(|path| !path.starts_with("target/") && !path.contains('*')) {
        assert!(root().join(path).is_file(), "{path}");
    }
    // What may hold secrets is not for everybody, not even for a moment.
    let config = assets.iter().find(|asset| asset[1].as_str() == Some("etc/subgate/proxy.toml")).unwrap();
    assert_eq!(config[2].as_str(), Some("640"));
}

#[test]
fn the_service_runs_what_the_server_supports() {
    let (service, socket) = (read("deploy/debian/subgate.service"), read("deploy/debian/subgate.socket"));
    let program = "/usr/bin/subgate";
    let config = "--config /etc/subgate/proxy.toml";
    assert_eq!(values(&service, "ExecStart"), [format!("{program} serve {config}")]);
    assert_eq!(values(&service, "ExecStartPre"), [format!("{program} check {config}")]);
    assert_eq!(
        values(&service, "ExecReload"),
        [format!("{program} check {config}"), "/bin/kill -HUP $MAINPID".to_owned()]
    );
    assert_eq!((values(&service, "Type"), values(&service, "User")), (vec!["notify"], vec!["subgate"]));
    let reference = table("proxy.toml");
    assert_eq!(values(&socket, "ListenStream"), [reference["server"]["listen"].as_str().unwrap()]);
    // Longer than transfers may take, which the reference shows.
    let drain = read("proxy.toml");
    let drain = drain.lines().find_map(|line| line.strip_prefix("#: drain_seconds_max = ")).unwrap();
    let stop: u64 = values(&service, "TimeoutStopSec")[0].parse().unwrap();
    assert!(stop > drain.parse().unwrap());
}

/// Calls a script, which is to refuse, with `tool` in the place of each of LLVM's; gives its exit code and
/// what it says.
fn refusal(script: &str, arguments: &[&str], tool: &str) -> (Option<i32>, String) {
    let mut command = Command::new(root().join(script));
    for name in ["LLVM_PROFDATA", "LLVM_BOLT", "LLVM_STRIP"] {
        command.env(name, tool);
    }
    let output = command.args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_load_is_recorded_with_tools_that_can_be_had() {
    for profdata in ["/bin/false", "/no/such/llvm-profdata"] {
        let (code, said) = refusal("deploy/profile", &[], profdata);
        assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
        for way in ["rustup component add llvm-tools", "Debian's llvm-19", "LLVM_PROFDATA"] {
            assert!(said.contains(way), "{way}: {said}");
        }
    }
    let (code, said) = refusal("deploy/profile", &["--program", "/no/such"], "/bin/false");
    assert_eq!((code, said.as_str()), (Some(1), "profile: /no/such: no such program\n"));
    let (code, said) = refusal("deploy/profile", &["--quick"], "/bin/false");
    assert!(code == Some(2) && said.contains("deploy/profile --image "), "{said}");
}

#[test]
fn a_program_is_laid_out_with_tools_that_can_be_had() {
    for tool in ["/bin/false", "/no/such/llvm-bolt"] {
        let (code, said) = refusal("deploy/layout", &["/bin/true"], tool);
        assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
        for way in ["Debian's bolt-15", "LLVM_BOLT", "deploy/release --without-layout"] {
            assert!(said.contains(way), "{way}: {said}");
        }
    }
    let (code, said) = refusal("deploy/layout", &["/no/such"], "/bin/false");
    assert_eq!((code, said.as_str()), (Some(1), "layout: /no/such: no such program\n"));
    let (code, said) = refusal("deploy/layout", &["--data", "/no/such", "/bin/true"], "/bin/false");
    assert!(code == Some(1) && said.contains("deploy/layout PROGRAM makes one"), "{said}");
    for arguments in [&[][..], &["--quick", "/bin/true"], &["/bin/true", "/bin/true"]] {
        let (code, said) = refusal("deploy/layout", arguments, "/bin/false");
        assert!(code == Some(2) && said.contains("deploy/layout --data FILE PROGRAM"), "{said}");
    }
    let (code, said) = refusal("deploy/load", &[], "/bin/false");
    assert!(code == Some(2) && said.contains("deploy/load PROGRAM"), "{said}");
}

#[test]
fn a_release_is_of_one_load_at_most() {
    let cases: [(&[&str], &str); 6] = [
        (&["--profile", "release", "--profile-data", "Cargo.toml"], "--profile-data is for --profile dist"),
        (&["--without-profile", "--profile-data", "Cargo.toml"], "leave one of them out"),
        (&["--profile-data", "no/such.profdata"], "deploy/profile records one"),
        (&["--layout-data", "Cargo.toml"], "--profile-data: give that too"),
        (
            &["--profile-data", "Cargo.toml", "--layout-data", "Cargo.toml", "--without-layout"],
            "--layout-data and --without-layout: leave one of them out",
        ),
        (&["--profile-data", "Cargo.toml", "--layout-data", "no/such.fdata"], "deploy/layout records one"),
    ];
    for (arguments, expected) in cases {
        let (code, said) = refusal("deploy/release", arguments, "/bin/false");
        assert_eq!((code, said.lines().count()), (Some(2), 1), "{arguments:?}: {said}");
        assert!(said.starts_with("release: ") && said.contains(expected), "{arguments:?}: {said}");
    }
}

/// The counts of the program are kept by names of symbols, which depend on all of this.
#[test]
fn what_is_recorded_is_built_as_what_is_shipped() {
    let (profile, release, image) = (read("deploy/profile"), read("deploy/release"), read("Dockerfile"));
    let features = "features=(--features jemalloc)";
    assert!(profile.contains(features) && release.contains(features));
    assert!(profile.contains("cargo build --locked --profile dist") && release.contains("profile=dist"));
    assert!(
        profile.contains("--target \"$machine\"") && release.contains("platform=(--target \"$machine\")")
    );
    assert!(profile.contains("features=(--no-default-features --features jemalloc) out=image.profdata"));
    for of_image in ["ARG PROFILE=dist", "ARG FEATURES=jemalloc", "--no-default-features", "image.profdata"] {
        assert!(image.contains(of_image), "{of_image}");
    }
    let context = read(".dockerignore");
    assert!(context.lines().any(|line| line == "!image.profdata"), "{context}");
}
