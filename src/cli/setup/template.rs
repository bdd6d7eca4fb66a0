//! The text of a configuration with its `{{placeholders}}`.
//!
//! - `{{name}}` is a value, written as the language at that place takes it;
//! - `{{#condition}}…{{/condition}}` stands only where the condition holds, `{{^condition}}…{{/condition}}`
//!   only where it does not. A tag that is alone on its line takes the line with it.

use super::{
    language::{Fault, Language, Scanner},
    values::{Condition, Values, Variable},
};

/// How deep sections may stand in each other; there are no more conditions.
const DEPTH_MAX: usize = 4;

/// A text, read.
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Value(Variable),
    Section { condition: Condition, holds: bool, pieces: Vec<Self> },
}

/// A section whose end is not read yet, with the pieces before it.
struct OpenSection {
    condition: Condition,
    holds: bool,
    before: Vec<Piece>,
}

impl Template {
    /// Reads a text of the table.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |reason: String| Err(Fault::Template(reason));
        let mut open: Vec<OpenSection> = Vec::new();
        let mut pieces = Vec::new();
        let mut rest = text;
        // Whether the text so far ends where a line begins.
        let mut at_line_start = true;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((tag, after)) = after.split_once("}}") else {
                return fault(format!("{{{{{} is not closed", first_word(after)));
            };
            let line = before.rsplit('\n').next().unwrap_or_default();
            let begins_line = (at_line_start || before.contains('\n')) && line.trim().is_empty();
            let is_section = tag.starts_with(['#', '^', '/']);
            // A tag alone on its line: neither its indentation nor its line's end are text.
            let alone = if begins_line && is_section { rest_of_line(after) } else { None };
            let (before, after) = match alone {
                Some(after) => (before.strip_suffix(line).unwrap_or(before), after),
                None => (before, after),
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let condition = |name: &str| {
                Condition::named(name)
                    .ok_or_else(|| Fault::Template(format!("{{{{{tag}}}}}: no such condition")))
            };
            if let Some(name) = tag.strip_prefix(['#', '^']) {
                let holds = tag.starts_with('#');
                open.push(OpenSection {
                    condition: condition(name)?,
                    holds,
                    before: std::mem::take(&mut pieces),
                });
                if open.len() > DEPTH_MAX {
                    return fault(format!("{{{{{tag}}}}} stands too deep"));
                }
            } else if let Some(name) = tag.strip_prefix('/') {
                let closed = condition(name)?;
                match open.pop() {
                    Some(OpenSection { condition, holds, before }) if condition == closed => {
                        let section = Piece::Section { condition, holds, pieces };
                        pieces = before;
                        pieces.push(section);
                    }
                    Some(_) | None => return fault(format!("{{{{{tag}}}}} closes what is not open")),
                }
            } else {
                match Variable::named(tag) {
                    Some(variable) => pieces.push(Piece::Value(variable)),
                    None => return fault(format!("{{{{{tag}}}}}: no such placeholder")),
                }
            }
            at_line_start = alone.is_some();
            rest = after;
        }
        if let Some(section) = open.pop() {
            return fault(format!("{:?} is not closed", section.condition));
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { pieces })
    }

    /// The text with these values.
    pub(super) fn render(&self, language: Language, values: &Values) -> Result<String, Fault> {
        let mut text = String::new();
        let mut scanner = Scanner::new(language);
        render(&self.pieces, values, &mut scanner, &mut text)?;
        scanner.end()?;
        Ok(text)
    }

    /// Whether the text is another one where the condition holds.
    pub(super) fn depends_on(&self, condition: Condition) -> bool {
        fn any(pieces: &[Piece], wanted: Condition) -> bool {
            pieces.iter().any(|piece| match piece {
                Piece::Section { condition, pieces, .. } => *condition == wanted || any(pieces, wanted),
                Piece::Text(_) | Piece::Value(_) => false,
            })
        }
        any(&self.pieces, condition)
    }
}

fn render(pieces: &[Piece], values: &Values, scanner: &mut Scanner, text: &mut String) -> Result<(), Fault> {
    for piece in pieces {
        match piece {
            Piece::Text(piece) => {
                scanner.read(piece)?;
                text.push_str(piece);
            }
            Piece::Value(variable) => {
                let value = values
                    .get(*variable)
                    .ok_or_else(|| Fault::Template(format!("{variable:?} stands where it has no value")))?;
                let written = scanner.write(value, *variable == Variable::Credentials)?;
                text.push_str(&written);
            }
            Piece::Section { condition, holds, pieces } => {
                if values.holds(*condition) == *holds {
                    render(pieces, values, scanner, text)?;
                }
            }
        }
    }
    Ok(())
}

/// What follows the line, if nothing but spaces is left of it.
fn rest_of_line(text: &str) -> Option<&str> {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    line.trim().is_empty().then_some(rest)
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::values::examples::values;

    fn rendered(text: &str, endpoint: &str) -> Result<String, Fault> {
        Template::parse(text)?.render(Language::Ini, &values(endpoint, None, None))
    }

    #[test]
    fn values_stand_where_their_names_stood() {
        assert_eq!(
            rendered(
                "a {{scheme}}://{{host}} {{endpoint}}/{{bucket}} {{region}}}} {{folder}}",
                "https://h:1"
            )
            .as_deref(),
            Ok("a https://h:1 https://h:1/data-universe us-east-1}} data/x/5F/")
        );
    }

    #[test]
    fn sections_stand_where_their_condition_holds_and_alone_they_leave_no_line() {
        let text = "a\n{{#https}}\nb\n  {{/https}}  \n{{#http}}\nc\n{{/http}}\nd\
                    {{#http}} e{{/http}}{{^http}} f{{/http}}\n\
                    {{^https}}\n{{#http}}\ng\n{{/http}}\n{{/https}}";
        assert_eq!(rendered(text, "https://h").as_deref(), Ok("a\nb\nd f\n"));
        assert_eq!(rendered(text, "http://127.0.0.1").as_deref(), Ok("a\nc\nd e\ng\n"));
        assert_eq!(rendered("{{#https}}\n\na\n{{/https}}\n\nb", "https://h").as_deref(), Ok("\na\n\nb"));
    }

    #[test]
    fn a_tag_that_is_unknown_or_out_of_place_is_a_fault() {
        for text in [
            "{{nothing}}",
            "{{ endpoint }}",
            "{{#nothing}}{{/nothing}}",
            "{{#endpoint}}{{/endpoint}}",
            "{{#https}}",
            "{{/https}}",
            "{{#https}}{{/http}}",
            "{{#https}}{{#http}}{{/https}}{{/http}}",
            "{{endpoint",
            "{{#ca}}{{#ca}}{{#ca}}{{#ca}}{{#ca}}{{/ca}}{{/ca}}{{/ca}}{{/ca}}{{/ca}}",
        ] {
            assert!(matches!(rendered(text, "https://h"), Err(Fault::Template(_))), "{text}");
        }
        // A value that is not always there.
        for name in ["ca_file", "agent_url", "agent_token_file"] {
            let text = format!("{{{{{name}}}}}");
            assert!(matches!(rendered(&text, "https://h"), Err(Fault::Template(_))), "{text}");
        }
    }
}
