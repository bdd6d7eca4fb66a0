//! What `subgate dev` says once it runs: where things are, who is who, and commands to paste.

use super::{
    Addresses, BUCKET, REGION,
    data::{Data, Identity, Role, shell_quote},
};
use crate::cli::terminal::{self, Paint};

/// Prints the card.
pub(crate) fn print(data: &Data, addresses: &Addresses) {
    for line in lines(data, addresses, Paint::for_stdout()) {
        terminal::print_line(line);
    }
}

fn lines(data: &Data, addresses: &Addresses, paint: Paint) -> Vec<String> {
    let fact = |name: &str, value: String| format!("  {} {value}", paint.dim(&format!("{name:<9}")));
    let mut lines = vec![
        paint.bold("Subgate dev"),
        fact("endpoint", format!("http://{}   bucket {BUCKET}, region {REGION}", addresses.proxy)),
        fact("store", format!("http://{}   keys in {}", addresses.store, data.places.store_file().display())),
        fact("registry", format!("{}   edits count at the next request", data.places.registry().display())),
    ];
    lines.extend(addresses.admin.map(|admin| fact("admin", format!("http://{admin}"))));
    lines.push(String::new());
    lines.extend(data.identities.iter().map(|identity| {
        let folders = match identity.role {
            Role::Miner => identity.folders().join("  "),
            Role::Validator => "reads everything".to_owned(),
            Role::Stranger => "is not registered".to_owned(),
        };
        format!("  {} {folders}", paint.bold(&format!("{:<9}", identity.name)))
    }));
    lines.push(String::new());
    lines.extend(commands(data, addresses).into_iter().map(|command| format!("  {}", paint.green(&command))));
    lines.push(String::new());
    lines
}

/// An upload, a list, and a refusal.
fn commands(data: &Data, addresses: &Addresses) -> Vec<String> {
    let config = shell_quote(&data.places.aws_config().display().to_string());
    let aws = |profile: &str, rest: &str| {
        format!("aws --profile {profile} --endpoint-url http://{} s3 {rest}", addresses.proxy)
    };
    let folder = |name: &str| {
        let identity = data.identities.iter().find(|identity| identity.name == name);
        let folder = identity.and_then(|identity: &Identity| identity.folders().into_iter().next());
        format!("s3://{BUCKET}/{}", folder.unwrap_or_default())
    };
    vec![
        format!("export AWS_CONFIG_FILE={config}"),
        "head -c 100000 /dev/urandom > first.bin".to_owned(),
        aws("miner-a", &format!("cp first.bin {}", folder("miner-a"))),
        aws("validator", &format!("ls --recursive s3://{BUCKET}/data/")),
        format!("{}   # refused", aws("miner-b", &format!("ls {}", folder("miner-a")))),
    ]
}
