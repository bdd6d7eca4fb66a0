//! `docs/clients.md` is what the table gives, for the server, the wallet and the folder of the documents.
//!
//! `UPDATE_GOLDEN=1 cargo test --lib clients_page` writes it anew; read the difference then.

use super::{
    client::{self, Client},
    values::{AgentAddress, DEFAULT_AGENT_URL, Place, Values},
};
use crate::cli::server_url::ServerUrl;

/// Prose is folded before this column.
const COLUMNS_MAX: usize = 110;

const ENDPOINT: &str = "https://s3.example.com";

const INTRODUCTION: &str = "\
<!-- Made from src/cli/setup/clients by a test, which says how to make it anew. -->
# Clients

What each S3 client needs to work with Subgate. `subgate setup` prints the same for your wallet, your server
and your folder, so that nothing is left to fill in:

```sh
subgate setup                # the clients that it knows
subgate setup aws2 --wallet-name miner --endpoint https://s3.example.com >> ~/.aws/config
subgate setup duckdb --wallet-name miner --endpoint https://s3.example.com --folder data/x/ > read.sql
```

This page assumes the server `https://s3.example.com`, the bucket `data-universe` and a miner's wallet named
`miner`; `5F…` stands for the coldkey. A validator reads below `data/` in the same ways. None of the texts
holds a secret: each of them calls `subgate credentials`, or reads a profile that does. Where the server's
certificate comes from an authority of your own (`--ca-file`), each text names that file too. The versions are
those that the tests run.
";

fn values(with_agent: bool) -> Values {
    let place = Place {
        bucket: "data-universe".to_owned(),
        region: "us-east-1".to_owned(),
        folder: "data/x/5F…/".to_owned(),
    };
    let credentials = format!("subgate credentials --wallet-name miner --endpoint {ENDPOINT}");
    let agent = with_agent.then(|| {
        AgentAddress::new(DEFAULT_AGENT_URL, "/home/me/.cache/subgate/agent-token".to_owned()).unwrap()
    });
    Values::new(&ServerUrl::parse(ENDPOINT, false).unwrap(), place, "subgate", credentials, None, agent)
        .unwrap()
}

/// The words in lines that are short enough.
fn folded(text: &str) -> String {
    let (mut folded, mut columns) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if columns > 0 && columns + 1 + width > COLUMNS_MAX {
            folded.push('\n');
            columns = 0;
        } else if columns > 0 {
            folded.push(' ');
            columns += 1;
        }
        folded.push_str(word);
        columns += width;
    }
    folded + "\n"
}

fn anchor(title: &str) -> String {
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    kept.replace(' ', "-")
}

fn section(client: &Client) -> String {
    let Client { name, title, tested, language, save, .. } = client;
    let block = |with_agent| {
        let text = client.body(&values(with_agent)).unwrap();
        // A person fills in the coldkey, in a URL too.
        format!("```{}\n{}```\n", language.name(), text.replace("%E2%80%A6", "…"))
    };
    let save = save.map(|file| format!("The text belongs into `{file}`. ")).unwrap_or_default();
    let remark = format!(
        "`subgate setup {name}`, tested with {tested}. {save}{}",
        client.notes(&values(false)).unwrap()
    );
    let (plain, by_agent) = (block(false), block(true));
    let by_agent = match client.knows_agents() {
        true => {
            let notes = client.notes(&values(true)).unwrap();
            format!("\n{}\n{by_agent}", folded(&format!("With `--agent`, while the agent runs: {notes}")))
        }
        false => String::new(),
    };
    format!("\n## {title}\n\n{}\n{plain}{by_agent}", folded(&remark))
}

fn page() -> String {
    let clients = client::all().unwrap();
    let rows: String = clients
        .iter()
        .map(|Client { name, title, tested, .. }| {
            format!("| [{title}](#{}) | `{name}` | {tested} |\n", anchor(title))
        })
        .collect();
    let sections: String = clients.iter().map(section).collect();
    format!("{INTRODUCTION}\n| client | name | tested |\n| --- | --- | --- |\n{rows}{sections}")
}

#[test]
fn the_clients_page_is_what_the_table_gives() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        page,
        "run with UPDATE_GOLDEN=1 and read the difference"
    );
}
