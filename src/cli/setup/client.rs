//! The table of clients: a file for each, with a header and a text.
//!
//! ```text
//! title: DuckDB
//! tested: 1.5.5
//! language: sql
//! save: ~/.aws/config        (where the text belongs; without it, the text is code or commands to run)
//! note: One sentence.        (may be repeated)
//! ---
//! text with {{placeholders}}
//! ```

use super::{
    language::{Fault, Language},
    template::Template,
    values::{Condition, Values},
};

/// Comments are folded before this column.
const COLUMNS_MAX: usize = 100;

/// The names, as they are given on the command line, with their files.
macro_rules! table {
    ($($name:literal),* $(,)?) => {
        const TABLE: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("clients/", $name, ".txt")))),*];
    };
}

table![
    "aws1",
    "aws2",
    "aws2-old",
    "boto3",
    "curl",
    "datasets",
    "duckdb",
    "duckdb-keys",
    "go",
    "js",
    "mc",
    "minio-py",
    "obstore",
    "pandas",
    "polars",
    "pyarrow",
    "rclone",
    "s3cmd",
    "s3fs",
    "s3fs-fuse",
    "s5cmd",
    "smart_open",
];

/// A client of the table.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// The version that the interop suite runs.
    pub(super) tested: &'static str,
    pub(super) language: Language,
    /// Where the text belongs.
    pub(super) save: Option<&'static str>,
    /// What to mind; a note may depend on conditions as the text does.
    notes: Vec<Template>,
    pub(super) text: Template,
}

/// The names of all clients.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// All clients, in the order of the table.
pub(super) fn all() -> Result<Vec<Client>, Fault> {
    TABLE.iter().map(|(name, file)| Client::parse(name, file)).collect()
}

/// The client of that name.
pub(super) fn named(name: &str) -> Result<Client, Fault> {
    let entry = TABLE.iter().find(|(known, _)| *known == name);
    let (name, file) = entry.ok_or_else(|| Fault::Template(format!("no such client: {name}")))?;
    Client::parse(name, file)
}

impl Client {
    fn parse(name: &'static str, file: &'static str) -> Result<Self, Fault> {
        let fault = |reason: &str| Fault::Template(format!("{name}: {reason}"));
        let (header, body) =
            file.split_once("\n---\n").ok_or_else(|| fault("no line --- after the header"))?;
        let (mut title, mut tested, mut language, mut save, mut notes) = (None, None, None, None, Vec::new());
        for line in header.lines() {
            let (field, value) = line.split_once(": ").ok_or_else(|| fault(line))?;
            let value = value.trim();
            let place = match field {
                "title" => &mut title,
                "tested" => &mut tested,
                "language" => &mut language,
                "save" => &mut save,
                "note" => {
                    notes.push(Template::parse(value)?);
                    continue;
                }
                _ => return Err(fault(&format!("no such field: {field}"))),
            };
            if place.replace(value).is_some() {
                return Err(fault(&format!("{field} stands twice")));
            }
        }
        let language = language.ok_or_else(|| fault("no language"))?;
        Ok(Self {
            name,
            title: title.ok_or_else(|| fault("no title"))?,
            tested: tested.ok_or_else(|| fault("no tested version"))?,
            language: Language::named(language)
                .ok_or_else(|| fault(&format!("no such language: {language}")))?,
            save,
            notes,
            text: Template::parse(body).map_err(|error| match error {
                Fault::Template(reason) => fault(&reason),
                error @ Fault::Value { .. } => error,
            })?,
        })
    }

    /// The text alone, without the remarks.
    pub(super) fn body(&self, values: &Values) -> Result<String, Fault> {
        self.text.render(self.language, values)
    }

    /// What to mind, as one paragraph.
    pub(super) fn notes(&self, values: &Values) -> Result<String, Fault> {
        // In no language, where a quote is a letter like others.
        let notes: Result<Vec<String>, Fault> =
            self.notes.iter().map(|note| note.render(Language::Ini, values)).collect();
        let notes = notes?;
        Ok(notes.iter().map(|note| note.trim()).filter(|note| !note.is_empty()).collect::<Vec<_>>().join(" "))
    }

    /// Whether the client can ask an agent for credentials.
    pub(super) fn knows_agents(&self) -> bool {
        self.text.depends_on(Condition::Agent)
    }

    /// The whole configuration: the remarks as comments, then the text.
    pub(super) fn configuration(&self, values: &Values) -> Result<String, Fault> {
        let body = self.body(values)?;
        let title = format!("{} (tested: {})", self.title, self.tested);
        let save = self.save.map(|file| format!("Save it in {file}."));
        let notes = Some(self.notes(values)?).filter(|notes| !notes.is_empty());
        let remarks = std::iter::once(title).chain(save).chain(notes);
        let mut text: String = remarks.map(|remark| comment(self.language, &remark)).collect();
        text.push_str(&body);
        Ok(text)
    }
}

/// A sentence as a comment of one line or more.
fn comment(language: Language, sentence: &str) -> String {
    let start = language.comment();
    let mut text = start.to_owned();
    let mut columns = start.len();
    for word in sentence.split_whitespace() {
        let width = word.chars().count().saturating_add(1);
        if columns.saturating_add(width) > COLUMNS_MAX && columns > start.len() {
            text.push('\n');
            text.push_str(start);
            columns = start.len();
        }
        text.push(' ');
        text.push_str(word);
        columns = columns.saturating_add(width);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::setup::values::examples::values;

    const HTTPS: &str = "https://s3.example.com";
    const HTTP: &str = "http://127.0.0.1:8014";

    #[test]
    fn every_text_of_the_table_can_be_made_in_every_case() {
        // Neither a path with a quote or a backslash breaks a text.
        let (ca_file, token_file) = (r#"/c a/"it's"\x.pem"#, r#"/t o/"it's"\agent-token"#);
        for client in all().unwrap() {
            for endpoint in [HTTPS, HTTP] {
                for ca_file in [None, Some("/ca.pem"), Some(ca_file)] {
                    for token_file in [None, Some("/agent-token"), Some(token_file)] {
                        let values = values(endpoint, ca_file, token_file);
                        let text = client.configuration(&values);
                        let text = text.unwrap_or_else(|fault| panic!("{}: {fault:?}", client.name));
                        assert!(!text.contains("{{") && text.ends_with('\n'), "{}: {text}", client.name);
                        assert!(
                            !text.contains("\n\n\n") && !text.ends_with("\n\n"),
                            "{}: {text}",
                            client.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_table_has_every_file_and_each_once() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/setup/clients");
        let files: BTreeSet<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let table: Vec<String> = names().map(|name| format!("{name}.txt")).collect();
        assert_eq!(table.len(), files.len());
        assert_eq!(table.into_iter().collect::<BTreeSet<_>>(), files);
    }

    #[test]
    fn a_header_is_whole_and_has_known_fields_alone() {
        const GOOD: &str = "title: A\ntested: 1\nlanguage: sh\nnote: One.\nnote: Two.\n---\ntext\n";
        let client = Client::parse("a", GOOD).unwrap();
        assert_eq!((client.notes.len(), client.save), (2, None));
        let text = client.configuration(&values(HTTPS, None, None)).unwrap();
        assert_eq!(text, "# A (tested: 1)\n# One. Two.\ntext\n");
        for bad in [
            "title: A\nlanguage: sh\n---\n",
            "title: A\ntested: 1\n---\n",
            "tested: 1\nlanguage: sh\n---\n",
            "title: A\ntested: 1\nlanguage: cobol\n---\n",
            "title: A\ntitle: B\ntested: 1\nlanguage: sh\n---\n",
            "title: A\ntested: 1\nlanguage: sh\nauthor: B\n---\n",
            "title: A\n\ntested: 1\nlanguage: sh\n---\n",
            "title: A\ntested: 1\nlanguage: sh\ntext\n",
            "title: A\ntested: 1\nlanguage: sh\n---\n{{nothing}}\n",
        ] {
            assert!(matches!(Client::parse("a", bad), Err(Fault::Template(_))), "{bad}");
        }
    }

    #[test]
    fn a_long_remark_goes_on_in_the_next_line() {
        let sentence = "word ".repeat(30);
        let text = comment(Language::Sql, &sentence);
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.starts_with("-- word") && line.len() <= COLUMNS_MAX));
    }
}
