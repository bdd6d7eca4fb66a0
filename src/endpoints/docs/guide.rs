//! What a person pastes, out of the configuration that is served: facts, folders, limits, examples. Pure.
//!
//! Invariants: nothing stands here that an anonymous caller may not know: no chain, no store, no listener of
//! the operator, no rule of who is a validator, no limit of one account, of addresses or of the whole server.
//! Every value is written for the language that it stands in, and all of it then as HTML.

use super::markup::{bytes, duration, fill, html, literal, number, shell};
use crate::{
    auth::SESSION_SECONDS_MIN,
    chain::{AccountId, Owner},
    config::{BodyBounds, FileName, PartyLimits, PrincipalKey, RateLimit},
    policy::{Action, Actions, Policy, Template, Values},
};

/// Whose folders the examples show: the development keys //Alice and //Bob, which everybody knows.
const EXAMPLE_HOTKEY: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const EXAMPLE_COLDKEY: &str = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";

/// How many values of a variable are shown.
const VALUES_SHOWN_MAX: usize = 20;

/// The size of the file in the examples, where smaller ones are not too small.
const EXAMPLE_BYTES_MIN: u64 = 1024;

/// What is told, by the configuration.
#[derive(Debug, Clone)]
pub(in crate::endpoints) struct Told {
    pub(in crate::endpoints) bodies: BodyBounds,
    pub(in crate::endpoints) miner: PartyLimits,
    pub(in crate::endpoints) validator: PartyLimits,
    pub(in crate::endpoints) principal: PrincipalKey,
    pub(in crate::endpoints) receiver: Option<AccountId>,
    pub(in crate::endpoints) allow_no_receiver: bool,
    pub(in crate::endpoints) session_seconds_max: u64,
}

/// Where a reader is.
pub(super) struct Place<'a> {
    pub(super) endpoint: &'a str,
    pub(super) bucket: &'a str,
    pub(super) region: &'a str,
    /// Whether what a hotkey signs by itself counts at this endpoint.
    pub(super) takes_hotkeys: bool,
}

/// The values of the page, by their names in it; each is HTML.
pub(super) fn values(told: &Told, policy: &Policy, place: &Place<'_>) -> Vec<(&'static str, String)> {
    let mut values = vec![
        ("who", who(policy)),
        ("facts", facts(told, place)),
        ("folders", folders(policy)),
        ("rights", rights(policy)),
        ("limits", limits(told)),
        ("pace", pace(told)),
        ("receiver_note", receiver_note(told)),
    ];
    values.extend(examples(told, policy, place));
    values
}

/// README's sentence of who owns what.
fn who(policy: &Policy) -> String {
    let all = &policy.rights().validator.all;
    let templates: Vec<String> = policy
        .templates()
        .iter()
        .map(|template| format!("<code>{}</code>", html(template.as_str())))
        .collect();
    let owns = match templates.as_slice() {
        [one] => format!("owns one folder, {one}"),
        several => format!("owns the folders {}", several.join(" and ")),
    };
    let readers = match all.contains(Action::List) && all.contains(Action::Read) {
        true => " a validator reads every folder;",
        false => "",
    };
    format!("A miner points any S3 client at it and {owns};{readers} nobody else gets in.")
}

/// A row of a list of facts; `value` is copied where it is something to paste.
fn fact(name: &str, value: &str, is_pasted: bool) -> String {
    let (name, value) = (html(name), html(value));
    match is_pasted {
        true => format!("<div><dt>{name}</dt><dd><code data-copy>{value}</code></dd></div>"),
        false => format!("<div><dt>{name}</dt><dd>{value}</dd></div>"),
    }
}

fn facts(told: &Told, place: &Place<'_>) -> String {
    let bodies = &told.bodies;
    let mut facts = vec![
        fact("Endpoint", place.endpoint, true),
        fact("Bucket", place.bucket, true),
        fact("Region", place.region, true),
    ];
    if let Some(receiver) = told.receiver {
        facts.push(fact("Receiver of session requests", &receiver.to_ss58(), true));
    }
    facts.push(fact(
        "Session",
        &format!(
            "{}, or less if you ask for less, down to {}",
            duration(told.session_seconds_max),
            duration(SESSION_SECONDS_MIN)
        ),
        false,
    ));
    let sizes = format!("{} to {}", bytes(bodies.object_bytes_min), bytes(bodies.object_bytes_max));
    facts.push(fact("Size of an object", &sizes, false));
    if !bodies.small_files.names.is_empty() {
        let names: Vec<String> = bodies.small_files.names.iter().map(FileName::text).collect();
        let least = bytes(bodies.small_files.object_bytes_min);
        facts.push(fact("Small files", &format!("{} from {least} on", names.join(", ")), false));
    }
    facts.concat()
}

fn folders(policy: &Policy) -> String {
    policy.templates().iter().map(folder).collect()
}

/// A template, an example of it, and what its variables may be.
fn folder(template: &Template) -> String {
    let mut variables = Vec::new();
    if template.names_coldkeys() {
        variables.push(("coldkey", "your coldkey, as the chain has it".to_owned()));
    }
    if template.names_hotkeys() {
        variables.push(("hotkey", "your hotkey".to_owned()));
    }
    variables.extend(template.variables().map(|(name, values)| (name, meaning(values))));
    let rows: String = variables
        .iter()
        .map(|(name, meaning)| {
            format!("<div><dt><code>{{{}}}</code></dt><dd>{meaning}</dd></div>", html(name))
        })
        .collect();
    format!(
        "<div class=\"card\"><p class=\"template\"><code>{}</code></p>{}<dl>{rows}</dl></div>",
        html(template.as_str()),
        example_of(template)
            .map(|folder| format!("<p class=\"facts\">for example <code>{}</code></p>", html(&folder)))
            .unwrap_or_default(),
    )
}

fn example_of(template: &Template) -> Option<String> {
    let owner = Owner::new(EXAMPLE_HOTKEY.parse().ok()?, EXAMPLE_COLDKEY.parse().ok()?);
    match template.owned_folders(&owner, None).first() {
        Some(owned) => Some(template.example_below(owned)),
        None => template.folders(&owner, 1).pop(),
    }
}

fn meaning(values: &Values) -> String {
    match values {
        Values::List(values) => {
            let shown: Vec<String> = values
                .iter()
                .take(VALUES_SHOWN_MAX)
                .map(|value| format!("<code>{}</code>", html(value)))
                .collect();
            let more = match values.len().saturating_sub(VALUES_SHOWN_MAX) {
                0 => String::new(),
                more => format!(" and {} more", number(more as u64)),
            };
            match values.len() {
                1 => shown.concat(),
                _ => format!("one of {}{more}", shown.join(", ")),
            }
        }
        Values::Pattern(_) => {
            let expression = values.expression().unwrap_or_default();
            format!("anything that fits <code>{}</code>", html(expression))
        }
    }
}

fn rights(policy: &Policy) -> String {
    let rights = policy.rights();
    [("miner", &rights.miner), ("validator", &rights.validator)]
        .into_iter()
        .map(|(role, rights)| {
            format!(
                "<tr><th scope=\"row\">{role}</th><td>{}</td><td>{}</td></tr>",
                actions(&rights.own),
                actions(&rights.all)
            )
        })
        .collect()
}

fn actions(actions: &Actions) -> String {
    let words: Vec<_> =
        Action::ALL.into_iter().filter(|action| actions.contains(*action)).map(Action::as_str).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// The rows of the limits of both roles; those that neither has are left out.
fn limits(told: &Told) -> String {
    type Shown = fn(&PartyLimits) -> Option<String>;
    const ROWS: [(&str, Shown); 11] = [
        ("Reads: GET and HEAD of objects", |limits| rate_of(limits.reads)),
        ("Writes: PUT, parts, copies, deletes", |limits| rate_of(limits.writes)),
        ("Lists", |limits| rate_of(limits.lists)),
        ("Sessions and the other signed endpoints", |limits| rate_of(limits.controls)),
        ("Requests at one time", |limits| limits.requests_under_way_max.map(number)),
        ("Bytes at one time", |limits| limits.bytes_under_way_max.map(bytes)),
        ("Requests a day", |limits| limits.requests_per_day_max.map(number)),
        ("Bytes a day", |limits| limits.bytes_per_day_max.map(bytes)),
        ("Requests a day to the vending server's older endpoints", |limits| {
            limits.vended_requests_per_day_max.map(number)
        }),
        ("Upload, each second", |limits| limits.bytes_in_per_second.map(bytes)),
        ("Download, each second", |limits| limits.bytes_out_per_second.map(bytes)),
    ];
    ROWS.iter()
        .filter_map(|(name, shown)| {
            let (miner, validator) = (shown(&told.miner), shown(&told.validator));
            (miner.is_some() || validator.is_some()).then(|| {
                let cell = |value: Option<String>| html(&value.unwrap_or_else(|| "no limit".to_owned()));
                format!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                    html(name),
                    cell(miner),
                    cell(validator)
                )
            })
        })
        .collect()
}

fn rate_of(rate: RateLimit) -> Option<String> {
    let burst = number(rate.burst.get().into());
    rate.per_second.map(|per_second| format!("{}/s, {burst} at once", number(per_second.get().into())))
}

fn pace(told: &Told) -> String {
    let each = match told.principal {
        PrincipalKey::Hotkey => "Each hotkey has these by itself.",
        PrincipalKey::Coldkey => "All hotkeys of a coldkey have these together.",
    };
    let BodyBounds { progress_bytes_per_second_min, progress_grace_seconds, progress_idle_seconds, .. } =
        &told.bodies;
    html(&format!(
        "{each} The operator may have set other limits for some. A transfer that stands still for {}, or is \
         slower than {} a second on average after its first {}, is cut off.",
        duration(*progress_idle_seconds),
        bytes(*progress_bytes_per_second_min),
        duration(*progress_grace_seconds),
    ))
}

fn receiver_note(told: &Told) -> String {
    match told.receiver {
        Some(_) => {
            "<p>The receiver is this server's own address on the chain: what you sign for it counts at \
                    no other server. Compare it with what your subnet's operator has published.</p>"
                .to_owned()
        }
        None => String::new(),
    }
}

/// The examples, each a block of code to copy; those that this server would refuse are empty.
fn examples(told: &Told, policy: &Policy, place: &Place<'_>) -> Vec<(&'static str, String)> {
    const WITH_HOTKEY: &str = include_str!("examples/hotkey.py");
    const WITH_STRING: &str = include_str!("examples/vending.py");
    let Place { endpoint, bucket, region, takes_hotkeys } = *place;
    let receiver = told.receiver.map(|receiver| receiver.to_ss58());
    let mut options = format!("--wallet-name miner --endpoint {}", shell(endpoint));
    if let Some(receiver) = &receiver {
        options.push_str(&format!(" --receiver {receiver}"));
    }
    let open = open_variables(policy);
    let in_jq: String = open
        .iter()
        .map(|(name, value)| format!(" | split({}) | join({})", literal(name), literal(value)))
        .collect();
    let folder_jq = format!(".folders[0]{in_jq}");
    let in_python: String =
        open.iter().map(|(name, value)| format!(".replace({}, {})", literal(name), literal(value))).collect();
    let size = told.bodies.object_bytes_min.max(EXAMPLE_BYTES_MIN).min(told.bodies.object_bytes_max);
    let names = [
        ("bucket", bucket.to_owned()),
        ("bucket_literal", literal(bucket)),
        ("bucket_url", shell(&format!("{endpoint}/{bucket}"))),
        ("region", region.to_owned()),
        ("region_literal", literal(region)),
        ("options", options),
        ("folder_jq", shell(&folder_jq)),
        ("folder_path_jq", shell(&format!("{folder_jq} | split(\"/\") | map(@uri) | join(\"/\")"))),
        ("open_variables", in_python),
        ("receiver", receiver.as_deref().map_or_else(|| "None".to_owned(), literal)),
        ("size", size.to_string()),
    ];
    let block = |name: &str, language: &str, template: &str| {
        let endpoint = match language {
            "python" => literal(endpoint),
            _ => endpoint.to_owned(),
        };
        let values: Vec<(&str, &str)> = names
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain([("endpoint", endpoint.as_str())])
            .collect();
        let code = html(fill(template, &values).trim_end());
        format!(
            "<pre id=\"{name}\" data-language=\"{language}\" data-copy tabindex=\"0\">\
             <code>{code}</code></pre>"
        )
    };
    let folded = |shown: bool, name: &str, title: &str, template: &str| match shown {
        true => format!(
            "<details class=\"more\"><summary>{}</summary>{}</details>",
            html(title),
            block(name, "python", template)
        ),
        false => String::new(),
    };
    vec![
        ("profile", block("example-profile", "ini", include_str!("examples/profile.ini"))),
        ("aws", block("example-aws", "sh", include_str!("examples/aws.sh"))),
        ("curl", block("example-curl", "sh", include_str!("examples/curl.sh"))),
        ("session", block("example-session", "python", include_str!("examples/session.py"))),
        (
            "hotkey",
            folded(
                takes_hotkeys,
                "example-hotkey",
                "Python: the hotkey signs each request, without a session",
                WITH_HOTKEY,
            ),
        ),
        (
            "vending",
            folded(
                told.allow_no_receiver,
                "example-vending",
                "Python: a client of the vending server, with its string and its form",
                WITH_STRING,
            ),
        ),
    ]
}

/// The variables of the first template that stand open in the folders that a session names, with a value.
fn open_variables(policy: &Policy) -> Vec<(String, String)> {
    let variables = policy.templates().first().into_iter().flat_map(Template::variables);
    variables
        .filter(|(_, values)| matches!(values, Values::Pattern(_)))
        .filter_map(|(name, values)| Some((format!("{{{name}}}"), values.example()?.to_owned())))
        .collect()
}
