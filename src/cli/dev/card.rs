//! The card that `subgate dev` prints once it runs: addresses, identities, and commands to paste.

use super::{
    Addresses, BUCKET, REGION, Workspace,
    certificates::DevCertificates,
    identities::{DevRole, Identity},
};
use crate::cli::{
    shell::shell_quote,
    terminal::{self, Paint},
};

/// Prints the card, and as its last line `ready URL`, for which scripts may wait.
pub(super) fn print(workspace: &Workspace, addresses: &Addresses) {
    for line in lines(workspace, addresses, Paint::for_stdout()) {
        terminal::print_line(line);
    }
    terminal::print_line(format_args!("ready {}", addresses.server_url()));
}

fn lines(workspace: &Workspace, addresses: &Addresses, paint: Paint) -> Vec<String> {
    let mut lines = vec![paint.bold("Subgate dev")];
    lines.extend(facts(workspace, addresses).into_iter().map(|(name, value)| {
        let name = paint.dim(&format!("{name:<8}"));
        format!("  {name}  {value}")
    }));
    lines.push(String::new());
    lines.push(paint.bold("Identities and their folders"));
    for identity in &workspace.identities {
        let mut name = identity.name;
        for text in identity_lines(identity, &workspace.identities) {
            lines.push(format!("  {}  {text}", paint.bold(&format!("{name:<9}"))));
            name = "";
        }
    }
    lines.push(String::new());
    lines.push(paint.bold("Try it: paste this into another terminal (with the AWS CLI)"));
    for (title, command) in commands(workspace, addresses) {
        lines.push(String::new());
        lines.push(paint.dim(&format!("  # {title}")));
        lines.extend(command.iter().map(|line| format!("  {}", paint.green(line))));
    }
    lines.push(String::new());
    lines.push("Ctrl-C stops it. What you upload is kept for the next start.".to_owned());
    lines.push(String::new());
    lines
}

fn facts(workspace: &Workspace, addresses: &Addresses) -> Vec<(&'static str, String)> {
    let layout = &workspace.layout;
    let Addresses { admin, store, tls, .. } = addresses;
    let url = addresses.server_url();
    let mut facts = vec![
        ("server", format!("{url}   bucket {BUCKET}, region {REGION}")),
        ("API", format!("{url}/docs   to read in a browser")),
    ];
    facts.extend(tls.iter().flat_map(trust));
    facts.extend(admin.map(|admin| ("admin", format!("http://{admin}"))));
    facts.extend([
        ("store", format!("http://{store}   keys in {}", layout.store_file().display())),
        ("registry", format!("{}   edits take effect at the next request", layout.registry().display())),
        ("data", format!("{}   delete it to start afresh", layout.root().display())),
    ]);
    facts
}

/// What makes clients trust the server.
fn trust(tls: &DevCertificates) -> [(&'static str, String); 4] {
    let ca_file = tls.ca_file.display();
    [
        ("trust", format!("{ca_file}   the authority of its certificate, for clients:")),
        ("", "AWS_CA_BUNDLE=FILE (aws, boto3, subgate), --ca-cert FILE (rclone)".to_owned()),
        ("", "NODE_EXTRA_CA_CERTS=FILE (JavaScript), REQUESTS_CA_BUNDLE=FILE (Python)".to_owned()),
        ("", "SSL_CERT_FILE=FILE (Go, s5cmd), --cacert FILE (curl)".to_owned()),
    ]
}

fn identity_lines(identity: &Identity, all: &[Identity]) -> Vec<String> {
    match identity.role {
        DevRole::Miner => {
            let same_coldkey = all.iter().find(|other| other.coldkey == identity.coldkey);
            match same_coldkey {
                Some(first) if first.name != identity.name => {
                    let shared = format!("the sources of {}: another hotkey of the same coldkey", first.name);
                    vec![shared, identity.job_folders()]
                }
                Some(_) | None => identity.folders(),
            }
        }
        DevRole::Validator => vec!["reads every folder".to_owned()],
        DevRole::Stranger => vec!["is not registered, so it is refused".to_owned()],
    }
}

/// An upload, a list, and a refusal: each with its title and the lines of its command.
fn commands(workspace: &Workspace, addresses: &Addresses) -> Vec<(&'static str, Vec<String>)> {
    let config = shell_quote(&workspace.layout.aws_config().display().to_string());
    let aws = |profile: &str, command: &str, target: String| {
        let url = addresses.server_url();
        vec![format!("aws --profile {profile} --endpoint-url {url} s3 {command} \\"), format!("  {target}")]
    };
    let folder_of = |name: &str| {
        let identity = workspace.identities.iter().find(|identity| identity.name == name);
        let folder = identity.and_then(|identity| identity.folders().into_iter().next());
        format!("s3://{BUCKET}/{}", folder.unwrap_or_default())
    };
    let mut first = vec![format!("export AWS_CONFIG_FILE={config}")];
    first.extend(
        addresses
            .tls
            .as_ref()
            .map(|tls| format!("export AWS_CA_BUNDLE={}", shell_quote(&tls.ca_file.display().to_string()))),
    );
    first.push("head -c 100000 /dev/urandom > first.bin".to_owned());
    vec![
        ("the profiles of all identities, and a file", first),
        ("miner-a uploads it into its folder", aws("miner-a", "cp first.bin", folder_of("miner-a"))),
        (
            "the validator lists all folders",
            aws("validator", "ls --recursive", format!("s3://{BUCKET}/data/")),
        ),
        ("miner-b is refused in the folder of miner-a", aws("miner-b", "ls", folder_of("miner-a"))),
    ]
}
